// Draws the peaks of the samples so far; what has been played is drawn in the accent colour.

export function drawWaveform(canvas, samples, playedShare) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const style = getComputedStyle(document.documentElement);
  context.clearRect(0, 0, width, height);
  const bars = 200;
  const step = samples.length / bars;
  for (let bar = 0; bar < bars; bar += 1) {
    let peak = 0;
    const end = Math.floor((bar + 1) * step);
    const stride = Math.max(1, Math.floor(step / 200));
    for (let i = Math.floor(bar * step); i < end; i += stride) peak = Math.max(peak, Math.abs(samples[i]));
    const size = Math.max(2, peak * height * 0.95);
    context.fillStyle = style.getPropertyValue(bar / bars < playedShare ? "--accent" : "--line");
    context.fillRect((bar * width) / bars, (height - size) / 2, (width / bars) * 0.7, size);
  }
}
