// Plays an audio file while it arrives. Every format is decoded by the browser from the bytes so far; samples that a
// decode of a longer prefix has added are scheduled behind those already playing.

const EDGE_S = 0.12; // the end of an unfinished file is not decoded reliably: held back until more has arrived
const DECODE_EVERY_S = 0.25;
const START_DELAY_S = 0.05;

export class StreamPlayer {
  constructor(format, sampleRateHz) {
    this.context = new AudioContext({ sampleRate: format === "pcm" ? sampleRateHz : 48000 });
    this.format = format;
    this.sampleRateHz = sampleRateHz;
    this.parts = [];
    this.size = 0;
    this.samples = new Float32Array(0); // all samples decoded so far
    this.scheduled = 0; // of these, how many have been handed to the audio clock
    this.startedAt = null;
    this.finished = false;
    this.lastDecode = 0;
    this.decoding = Promise.resolve();
  }

  push(bytes) {
    this.parts.push(bytes);
    this.size += bytes.length;
    const now = performance.now() / 1000;
    if (now - this.lastDecode >= DECODE_EVERY_S) {
      this.lastDecode = now;
      this.decoding = this.decoding.then(() => this.decode(false));
    }
    return this.decoding;
  }

  async finish() {
    this.finished = true;
    await this.decoding;
    await this.decode(true);
  }

  stop() {
    this.finished = true;
    return this.context.close();
  }

  bytes() {
    const all = new Uint8Array(this.size);
    let at = 0;
    for (const part of this.parts) { all.set(part, at); at += part.length; }
    return all;
  }

  async decode(complete) {
    if (this.context.state === "closed") return;
    let decoded;
    if (this.format === "pcm") {
      const all = this.bytes();
      const whole = new Int16Array(all.buffer, 0, Math.floor(all.length / 2));
      decoded = Float32Array.from(whole, (value) => value / 32768);
    } else {
      try {
        decoded = (await this.context.decodeAudioData(this.bytes().buffer)).getChannelData(0);
      } catch (error) {
        if (complete) throw new Error(`the browser cannot decode ${this.format}: ${error.message}`);
        return; // too little of the file so far
      }
    }
    const rate = this.context.sampleRate;
    const held = complete || this.format === "pcm" ? 0 : Math.round(EDGE_S * rate);
    const usable = Math.max(this.scheduled, decoded.length - held);
    this.samples = decoded.subarray(0, usable);
    if (usable > this.scheduled) this.schedule(decoded.slice(this.scheduled, usable));
  }

  schedule(samples) {
    const rate = this.context.sampleRate;
    const now = this.context.currentTime;
    if (this.startedAt === null) this.startedAt = now + START_DELAY_S;
    let at = this.startedAt + this.scheduled / rate;
    if (at < now) { // playback ran dry: go on from here
      this.startedAt += now - at;
      at = now;
    }
    const buffer = this.context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    source.start(at);
    this.scheduled += samples.length;
  }

  get durationS() { return this.samples.length / this.context.sampleRate; }

  get playedS() {
    if (this.startedAt === null) return 0;
    return Math.min(this.durationS, Math.max(0, this.context.currentTime - this.startedAt));
  }
}
