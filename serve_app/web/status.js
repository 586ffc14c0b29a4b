// What the models are doing now, with small plots of the last minutes. The server is asked only while this is open.

const EVERY_MS = 2000;
const KEPT = 150; // values of a plot: five minutes
const PLOTS = [
  { title: "Requests", value: (model) => model.requests, show: (value) => `${value}` },
  { title: "Queue", value: waiting, show: (value) => `${value}` },
  { title: "First audio", value: (model) => model.first_audio_s, show: (value) => `${value.toFixed(2)} s` },
  { title: "Real-time factor", value: (model) => model.rtf, show: (value) => value.toFixed(2) },
];

function waiting(model) {
  return Object.values(model.stages).reduce((sum, stage) => sum + stage.waiting_rows, 0);
}

function element(kind, text, parent) {
  const made = document.createElement(kind);
  made.textContent = text;
  parent.append(made);
  return made;
}

function drawPlot(canvas, values) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const known = values.filter((value) => value !== null);
  const most = Math.max(...known, 1e-9);
  context.clearRect(0, 0, width, height);
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = 2;
  context.beginPath();
  let drawing = false;
  values.forEach((value, index) => {
    const x = width * (KEPT - values.length + index + 1) / KEPT;
    const y = height - 2 - (height - 4) * (value ?? 0) / most;
    if (value !== null && drawing) context.lineTo(x, y);
    else if (value !== null) context.moveTo(x, y);
    drawing = value !== null;
  });
  context.stroke();
}

class ModelView {
  constructor(id, parent) {
    this.root = element("section", "", parent);
    this.root.dataset.model = id;
    const head = element("h3", id, this.root);
    this.state = element("span", "", head);
    this.stages = element("p", "", this.root);
    this.stages.className = "hint";
    const plots = element("dl", "", this.root);
    this.plots = PLOTS.map((plot) => {
      const place = element("div", "", plots);
      element("dt", plot.title, place);
      const figure = element("dd", "–", place);
      const canvas = element("canvas", "", place);
      canvas.width = 240;
      canvas.height = 48;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${plot.title} of ${id}, the last five minutes`);
      return { ...plot, figure, canvas, values: [] };
    });
  }

  show(model) {
    this.state.textContent = model.state;
    this.state.className = `state ${model.state}`;
    this.stages.textContent = Object.entries(model.stages)
      .map(([name, stage]) => `${name}: ${stage.replicas} running, ${stage.held_rows} of ${stage.rows} in use`)
      .join(" · ");
    for (const plot of this.plots) {
      const value = plot.value(model);
      plot.values.push(value);
      if (plot.values.length > KEPT) plot.values.shift();
      plot.figure.textContent = value === null ? "–" : plot.show(value);
      drawPlot(plot.canvas, plot.values);
    }
  }
}

// `details` shows the models in `place` while it is open; `getJson(path)` fetches.
export function showStatus(details, place, getJson) {
  const views = new Map();
  let timer = null;

  async function look() {
    timer = null;
    if (!details.open) return;
    try {
      if (!document.hidden) {
        const { models } = await getJson("v1/audio/status");
        for (const model of models) {
          if (!views.has(model.id)) views.set(model.id, new ModelView(model.id, place));
          views.get(model.id).show(model);
        }
      }
    } catch { // the server restarts, or wants a key: the next look may succeed
    }
    if (details.open && timer === null) timer = setTimeout(look, EVERY_MS);
  }

  details.addEventListener("toggle", () => {
    if (details.open && timer === null) look();
  });
}
