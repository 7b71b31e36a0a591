// The report's script. It sorts tables, draws the chosen heat-maps as they come into view, says in
// words what is under the pointer, and moves that pointer with the arrow keys.
//
// The page holds two compressed texts: plotly, and the data. The data are {labels, runs}: labels
// maps each kind of rows to its plural, and each run has heat-maps by kind (`kinds`), the names of
// those to begin with (`chosen`), and the steps at which epochs begin (`epochs`).

'use strict';

// --- small helpers

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

const clamp = (v, most) => Math.min(most, Math.max(0, v));

function unpack(id) {
  const packed = new Blob([bytes(document.getElementById(id).textContent)]).stream();
  return new Response(packed.pipeThrough(new DecompressionStream('gzip'))).text();
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// --- tables

function sortBy(th) {
  const body = th.closest('table').tBodies[0];
  const up = th.getAttribute('aria-sort') !== 'ascending';
  const last = up ? Infinity : -Infinity; // empty cells come last either way
  const value = (row) => {
    const text = row.cells[th.cellIndex].dataset.v;
    return text === '' ? last : Number(text);
  };
  for (const other of th.parentNode.cells) other.removeAttribute('aria-sort');
  th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const order = (a, b) => (up ? 1 : -1) * (value(a) - value(b) || 0);
  body.append(...[...body.rows].sort(order));
}

for (const th of document.querySelectorAll('table.sortable thead th')) {
  th.querySelector('button').onclick = () => sortBy(th);
}

// --- one heat-map

const ARROWS = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [1, 0],
  ArrowDown: [-1, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
};

const textColor = () => getComputedStyle(document.body).color;

function values(n) {
  const rounded = n < 10 && n % 1 ? n.toFixed(1) : Math.round(n).toLocaleString('en');
  return rounded + (n === 1 ? ' value' : ' values');
}

class HeatMap {
  constructor(series, label, epochs) {
    this.series = series;
    this.epochs = epochs;
    this.counts = new Float32Array(bytes(series.counts).buffer); // bins × rows
    this.ends = [...series.step.slice(1), series.end];
    this.cell = null; // [bin, row] that the arrow keys chose
    this.drawn = false;

    const { name, step, bins } = series;
    this.plot = make('div', { className: 'plot', tabIndex: 0 });
    this.plot.setAttribute('role', 'application');
    this.plot.setAttribute(
      'aria-label',
      `Heat-map of ${name}, ${label}: ${step.length} columns of steps, ${bins.length} bins. ` +
        'Arrow keys move from one to the next and read the count.',
    );
    this.plot.addEventListener('keydown', (event) => this.move(event));
    this.plot.addEventListener('blur', () => this.drawn && Plotly.Fx.unhover(this.plot));
    this.words = make('output', { className: 'words' });
    this.box = make(
      'div',
      { className: 'heat' },
      make('h4', { textContent: name }),
      this.plot,
      this.words,
    );
    this.box.heatMap = this;
  }

  count(bin, row) {
    return this.counts[bin * this.series.step.length + row];
  }

  steps(row) {
    const first = this.series.step[row];
    const last = this.ends[row] - 1;
    return last > first ? `steps ${first} to ${last}` : `step ${first}`;
  }

  sentence(bin, row) {
    const range = this.series.bins[bin]; // "exactly 0", "below -8", "1 to 2", "8 or more"
    const word = range.startsWith('exactly') ? 'of ' : range.startsWith('below') ? '' : 'from ';
    return `${this.steps(row)}: ${values(this.count(bin, row))} ${word}${range}`;
  }

  move(event) {
    if (!(event.key in ARROWS) || !this.drawn) return;
    event.preventDefault();
    const [up, right] = ARROWS[event.key];
    const { bins, step } = this.series;
    this.cell = this.cell
      ? [clamp(this.cell[0] + up, bins.length - 1), clamp(this.cell[1] + right, step.length - 1)]
      : [bins.length >> 1, 0];
    this.words.textContent = this.sentence(...this.cell);
    Plotly.Fx.hover(this.plot, [{ curveNumber: 0, pointNumber: this.cell }]);
  }

  draw() {
    if (this.drawn) return;
    this.drawn = true;
    const traces = [this.cells(), this.mean(), ...this.notFinite()];
    Plotly.newPlot(this.plot, traces, this.layout(), { responsive: true, displaylogo: false });
  }

  remove() {
    if (this.drawn) Plotly.purge(this.plot);
    this.box.remove();
  }

  // --- the parts of its picture, for plotly

  cells() {
    const { step, end, at, bins } = this.series;
    const grid = (f) => bins.map((_, bin) => step.map((_, row) => f(bin, row)));
    const most = this.counts.reduce((a, b) => Math.max(a, b), 1);
    const tens = Array.from({ length: 10 }, (_, k) => 10 ** k).filter((n) => n <= most);
    const ticks = [0, ...tens];
    return {
      type: 'heatmap',
      x: [...step, end].map((v) => v - 0.5),
      y: at,
      z: grid((bin, row) => Math.log1p(this.count(bin, row))),
      text: grid((bin, row) =>
        [this.steps(row), bins[bin], values(this.count(bin, row))].join('<br>'),
      ),
      hovertemplate: '%{text}<extra></extra>',
      colorscale: 'Viridis',
      zmin: 0,
      zmax: Math.log1p(most),
      colorbar: {
        tickvals: ticks.map(Math.log1p),
        ticktext: ticks.map((n) => n.toLocaleString('en')),
        tickfont: { size: 10 },
        thickness: 10,
      },
    };
  }

  middles() {
    return this.series.step.map((first, row) => (first + this.ends[row] - 1) / 2);
  }

  mean() {
    return {
      type: 'scatter',
      mode: 'lines',
      x: this.middles(),
      y: this.series.mean,
      line: { color: 'white', width: 1.2, dash: 'dash' },
      hoverinfo: 'skip',
      showlegend: false,
    };
  }

  notFinite() {
    const { at, bad } = this.series;
    if (!bad) return [];
    const middles = this.middles();
    const rows = bad.map((_, row) => row).filter((row) => bad[row]);
    return [
      {
        type: 'scatter',
        mode: 'markers',
        x: rows.map((row) => middles[row]),
        y: rows.map(() => at.at(-1)),
        text: rows.map((row) => `${this.steps(row)}<br>${values(bad[row])} NaN or infinite`),
        hovertemplate: '%{text}<extra></extra>',
        marker: { symbol: 'x', size: 6, color: '#ff3b30' },
        cliponaxis: false,
        showlegend: false,
      },
    ];
  }

  lines() {
    const white = { color: 'white', width: 1 };
    const across = (y) => ({
      type: 'line',
      xref: 'paper',
      x0: 0,
      x1: 1,
      y0: y,
      y1: y,
      line: white,
    });
    const upright = (x) => ({
      type: 'line',
      yref: 'paper',
      x0: x - 0.5,
      x1: x - 0.5,
      y0: 0,
      y1: 1,
      line: { ...white, dash: 'dot' },
    });
    const epochs = this.epochs.filter((step) => step < this.series.end);
    return [...this.series.lines.map(across), ...epochs.map(upright)];
  }

  layout() {
    const { ticks } = this.series; // [places, texts], or null
    const plain = { showgrid: false, zeroline: false };
    return {
      margin: { l: 55, r: 10, t: 8, b: 38 },
      paper_bgcolor: 'rgba(0,0,0,0)',
      font: { color: textColor(), size: 11 },
      xaxis: { ...plain, title: { text: 'step', standoff: 4 } },
      yaxis: ticks ? { ...plain, tickvals: ticks[0], ticktext: ticks[1] } : plain,
      shapes: this.lines(),
    };
  }
}

// --- the form that chooses them

class Explorer {
  constructor(root, run, labels) {
    this.run = run;
    this.labels = labels;
    this.shown = new Map(); // series → HeatMap
    this.kind = make('select', { onchange: () => this.fill() });
    for (const k of Object.keys(run.kinds)) {
      this.kind.append(make('option', { value: k, textContent: this.label(k) }));
    }
    this.filter = make('input', {
      type: 'search',
      placeholder: 'part of a name',
      oninput: () => this.sift(),
    });
    this.list = make('fieldset');
    this.grid = make('div', { className: 'grid' });
    this.view = new IntersectionObserver(
      (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => e.target.heatMap.draw()),
      { rootMargin: '300px' },
    );
    addEventListener('beforeprint', () => this.shown.forEach((map) => map.draw()));
    root.replaceChildren(make('div', { className: 'picker' }, this.form(), this.list), this.grid);
    this.fill();
  }

  label(kind) {
    return this.labels[kind] || kind;
  }

  form() {
    const button = (textContent, on) =>
      make('button', { textContent, onclick: () => this.all(on) });
    const parts = [
      make('label', {}, 'Show: ', this.kind),
      make('label', {}, 'Filter: ', this.filter),
      button('all', true),
      button('none', false),
    ];
    return make('div', {}, ...parts.flatMap((part) => [part, ' ']));
  }

  fill() {
    for (const series of [...this.shown.keys()]) this.hide(series);
    const all = this.run.kinds[this.kind.value];
    const chosen = new Set(this.run.chosen[this.kind.value]);
    const ticks = all.map((series) => this.tick(series, chosen.has(series.name)));
    this.list.replaceChildren(
      make('legend', { textContent: `${all.length} to choose from` }),
      ...ticks,
    );
    this.sift();
  }

  tick(series, checked) {
    const input = make('input', { type: 'checkbox', checked });
    input.onchange = () => (input.checked ? this.show(series) : this.hide(series));
    if (checked) this.show(series);
    return make('label', { className: 'layer' }, input, ` ${series.name}`);
  }

  show(series) {
    const kind = this.kind.value;
    const map = new HeatMap(series, this.label(kind), this.run.epochs);
    this.shown.set(series, map);
    const order = this.run.kinds[kind];
    const next = order.slice(order.indexOf(series) + 1).find((other) => this.shown.has(other));
    this.grid.insertBefore(map.box, next ? this.shown.get(next).box : null);
    this.view.observe(map.box);
  }

  hide(series) {
    const map = this.shown.get(series);
    this.view.unobserve(map.box);
    map.remove();
    this.shown.delete(series);
  }

  sift() {
    const part = this.filter.value.toLowerCase();
    for (const label of this.list.querySelectorAll('label')) {
      label.hidden = !label.textContent.toLowerCase().includes(part);
    }
  }

  all(on) {
    for (const input of this.list.querySelectorAll('label:not([hidden]) input')) {
      if (input.checked !== on) input.click();
    }
  }
}

// --- the page

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const plot of document.querySelectorAll('.plot.js-plotly-plot')) {
    Plotly.relayout(plot, { 'font.color': textColor() });
  }
});

async function start() {
  document.head.append(make('script', { textContent: await unpack('plotly') }));
  const { labels, runs } = JSON.parse(await unpack('data'));
  document.querySelectorAll('.heats').forEach((root, i) => {
    if (Object.keys(runs[i].kinds).length) new Explorer(root, runs[i], labels);
    else root.textContent = 'Nothing was recorded.';
  });
  document.documentElement.dataset.ready = 'yes';
}

start().catch((error) => {
  for (const root of document.querySelectorAll('.heats')) {
    root.textContent = `This browser could not draw these pictures: ${error.message}`;
  }
});
