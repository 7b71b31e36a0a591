// The report's script. It opens the lines of the table, draws their histograms as they come into view, moves one
// cursor through all pictures, zooms all of them, and says what is under the pointer.
//
// The page holds one compressed text: {details, maps, colors, steps, lines}. `details` are the HTML that the lines of
// the table open into, `maps` the statistics of all layers as bytes, `colors` the palettes of these bytes, `steps` the
// axis that all pictures share, and `lines` the id and the name of each layer.

'use strict';

const root = document.documentElement;
const NOTHING = 0; // the codes of a map: nothing, not finite, and from FIRST on the colours
const BAD = 1;
const FIRST = 2;
let data = null;

// --- small helpers

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const clamp = (v, least, most) => Math.min(most, Math.max(least, v));

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function unpack(id) {
  const packed = new Blob([bytes(document.getElementById(id).textContent)]).stream();
  return new Response(packed.pipeThrough(new DecompressionStream('gzip'))).json();
}

function figure(v) {
  const size = Math.abs(v);
  if (v === 0 || (size >= 0.001 && size < 1e6)) return Number(v.toPrecision(3)).toLocaleString('en');
  return v.toExponential(1);
}

const value = (place, { lo, hi, log }) =>
  log ? lo * (hi / lo) ** place : lo + place * (hi - lo);

// --- maps and histograms: bytes that become colours

const palettes = {};

function palette(name) {
  palettes[name] ??= new Uint32Array(bytes(data.colors[name]).buffer);
  return palettes[name];
}

function paint(canvas, codes, colors) {
  const image = new ImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  codes.forEach((code, i) => (pixels[i] = palette(colors)[code]));
  canvas.getContext('2d').putImageData(image, 0, 0);
}

const codesOf = new WeakMap(); // canvas → its codes

function draw(canvas) {
  if (codesOf.has(canvas)) return;
  codesOf.set(canvas, bytes(canvas.dataset.codes));
  paint(canvas, codesOf.get(canvas), canvas.dataset.colors);
}

const inView = new IntersectionObserver(
  (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => draw(e.target)),
  { rootMargin: '300px' },
);

let shownMap = null; // the name of the statistic of the map

function showMap(name) {
  const { runs, label, ends, colors } = data.maps[name];
  for (const plot of $$('[data-plot="map"]')) {
    let canvas = $('canvas', plot);
    if (!canvas) {
      canvas = make('canvas', { width: data.steps.n, height: data.lines.length });
      $('img', plot).replaceWith(canvas);
    }
    const codes = bytes(runs[plot.dataset.run]);
    codesOf.set(canvas, codes);
    paint(canvas, codes, colors);
  }
  const ramp = $('#ramp');
  $('.what', ramp).textContent = label;
  [$('.low', ramp).textContent, $('.high', ramp).textContent] = ends;
  $('.colors', ramp).className = `colors ${colors}`;
  shownMap = name;
}

// --- reading: what is at a place of a picture, in words

const widthOf = () => (data.steps.end - data.steps.first) / data.steps.n;

function steps(column) {
  const first = Math.round(data.steps.first + column * widthOf());
  const last = Math.max(first, Math.round(data.steps.first + (column + 1) * widthOf()) - 1);
  const said = (v) => v.toLocaleString('en');
  return last > first ? `steps ${said(first)} to ${said(last)}` : `step ${said(first)}`;
}

function pointsOf(path) {
  path.points ??= [...path.getAttribute('d').matchAll(/(\d+) (\d+)|M(\d+) (\d+)h0/g)].map((m) => [
    Number(m[1] ?? m[3]) / 2000,
    1 - Number(m[2] ?? m[4]) / 400,
  ]);
  return path.points;
}

const nearest = (points, at) =>
  points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a), [Infinity, 0]);

function readLines(plot, at) {
  const [lo, hi, log] = plot.dataset.scale.split(' ').map(Number);
  const names = plot.dataset.names?.split('|');
  const many = $$('.card.verdict').length > 1 && !plot.closest('.evidence');
  const where = names ? names[clamp(Math.floor(at * names.length), 0, names.length - 1)] : null;
  const said = $$('.line', plot).map((path) => {
    const [x, y] = nearest(pointsOf(path), at);
    if (Math.abs(x - at) > 0.6 / (names ?? { length: data.steps.n }).length + 0.002) return null;
    const run = many ? `${$$('.card.verdict')[path.dataset.run].querySelector('.run').textContent}: ` : '';
    return `${run}${path.dataset.name} ${figure(value(y, { lo, hi, log }))}`;
  });
  return [where ?? steps(columnAt(at)), ...said.filter(Boolean)].join('\n');
}

function readStrip(plot, at, row) {
  const canvas = $('canvas', plot);
  draw(canvas);
  const column = columnAt(at);
  const code = codesOf.get(canvas)[row * canvas.width + column];
  const bin = plot.dataset.bins.split('|')[row];
  if (code === NOTHING) return `${steps(column)}\nnothing recorded`;
  const count = Math.expm1(((code - FIRST) / (255 - FIRST)) * Math.log1p(Number(plot.dataset.most)));
  const about = Math.round(Number(count.toPrecision(2)));
  const values = about === 1 ? '1 value' : `${about > 20 ? 'about ' : ''}${about.toLocaleString('en')} values`;
  return `${steps(column)}\n${bin}: ${values}`;
}

function readMap(plot, at, row) {
  const { runs, short, ...scale } = data.maps[shownMap];
  const column = columnAt(at);
  const code = codesOf.get($('canvas', plot))[row * data.steps.n + column];
  const said =
    code === NOTHING
      ? shownMap === 'away' ? 'near its own history' : 'nothing recorded'
      : code === BAD
        ? 'values that are not finite'
        : `${scale.label}: ${figure(value((code - FIRST) / (255 - FIRST), scale))}`;
  return `${data.lines[row][1]}\n${steps(column)}\n${said}`;
}

const columnAt = (at) => clamp(Math.floor(at * data.steps.n), 0, data.steps.n - 1);

const rowsOf = (plot) =>
  plot.dataset.plot === 'lines' ? 1 : plot.dataset.plot === 'map' ? data.lines.length : $('canvas', plot).height;

function read(plot, at, row) {
  if (plot.dataset.plot === 'lines') return readLines(plot, at);
  return plot.dataset.plot === 'map' ? readMap(plot, at, row) : readStrip(plot, at, row);
}

// --- the cursor, in all pictures at once

const tip = $('.tip');
const now = $('.now');

function setCursor(at) {
  root.style.setProperty('--at', at);
  now.firstChild.textContent = at < 0 ? '' : steps(columnAt(at));
}

function say(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + 14 + width > innerWidth ? x - width - 14 : x + 14;
  const top = y + 14 + height > innerHeight ? y - height - 14 : y + 14;
  tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
}

// Where a pointer is: the place on the axis of steps, 0 to 1, and the row of pixels from the top
function locate(plot, event) {
  const pan = $('.pan', plot).getBoundingClientRect();
  const rows = rowsOf(plot);
  return {
    at: clamp((event.clientX - pan.left) / pan.width, 0, 0.999999),
    row: clamp(Math.floor(((event.clientY - pan.top) / pan.height) * rows), 0, rows - 1),
  };
}

function point(plot, event) {
  const { at, row } = locate(plot, event);
  const own = plot.dataset.names !== undefined;
  if (!own) setCursor((columnAt(at) + 0.5) / data.steps.n);
  say(read(plot, at, row), event.clientX, event.clientY);
  plot.cell = [own ? Math.floor(at * plot.dataset.names.split('|').length) : columnAt(at), row];
}

const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  Home: [-Infinity, 0],
  End: [Infinity, 0],
};

function walk(plot, event) {
  if (event.key === 'Enter' && plot.dataset.plot === 'map' && plot.cell) return open(data.lines[plot.cell[1]][0]);
  if (event.key === 'Escape') return setZoom(0, 1);
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  const [right, down] = ARROWS[event.key];
  const columns = plot.dataset.names?.split('|').length ?? data.steps.n;
  const [column, row] = plot.cell ?? [-1, rowsOf(plot) >> 1];
  plot.cell = [clamp(column + right, 0, columns - 1), clamp(row + down, 0, rowsOf(plot) - 1)];
  const at = (plot.cell[0] + 0.5) / columns;
  if (columns === data.steps.n) setCursor(at);
  const pan = $('.pan', plot).getBoundingClientRect();
  say(read(plot, at, plot.cell[1]), pan.left + at * pan.width, pan.top + ((plot.cell[1] + 0.5) / rowsOf(plot)) * pan.height);
}

// --- zoom: drag over a picture, and all show those steps

function setZoom(from, to) {
  root.style.setProperty('--zoom', 1 / (to - from));
  root.style.setProperty('--from', from);
  $('button', now).hidden = to - from === 1;
  const { first, end } = data.steps;
  const [lo, hi] = [first + from * (end - first), first + to * (end - first)];
  const rough = (hi - lo) / 5;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const by = Math.max(1, ten * [1, 2, 5, 10].find((k) => k * ten >= rough));
  const marks = [];
  for (let v = Math.ceil(lo / by) * by; v < hi; v += by) marks.push(v);
  for (const pan of $$('.xaxis:not(.names) .pan')) {
    pan.replaceChildren(
      ...marks.map((v) => {
        const mark = make('span', { textContent: v.toLocaleString('en') });
        mark.style.left = `${((v + 0.5 - first) / (end - first)) * 100}%`;
        return mark;
      }),
    );
  }
}

let drag = null; // {plot, at, box}

function startDrag(plot, event) {
  if (event.pointerType !== 'mouse' || event.button || plot.dataset.names !== undefined || event.target.closest('a')) return;
  drag = { plot, at: locate(plot, event).at, box: make('i', { className: 'selection' }) };
  event.preventDefault();
  plot.focus({ preventScroll: true });
}

function moveDrag(event) {
  const { at } = locate(drag.plot, event);
  const [from, to] = [Math.min(at, drag.at), Math.max(at, drag.at)];
  drag.box.style.left = `${from * 100}%`;
  drag.box.style.width = `${(to - from) * 100}%`;
  $('.pan', drag.plot).append(drag.box);
  drag.span = [from, to];
}

function endDrag() {
  const { box, span } = drag;
  box.remove();
  drag = null;
  if (span && (span[1] - span[0]) * data.steps.n >= 2) setZoom(...span);
}

// --- the table of layers

const body = (id) => document.getElementById(id);
const table = $('.layers');

function setOpen(tbody, on) {
  const button = $('button[aria-expanded]', tbody);
  const more = $('.more', tbody);
  button.setAttribute('aria-expanded', on);
  more.hidden = !on;
  if (!on || more.dataset.filled) return;
  more.dataset.filled = 'yes';
  more.firstElementChild.innerHTML = data.details[tbody.id];
  $$('canvas', more).forEach((canvas) => inView.observe(canvas));
}

function open(id) {
  const tbody = body(id);
  if (!tbody?.closest('.layers')) return;
  tbody.hidden = false;
  setOpen(tbody, true);
  tbody.scrollIntoView({ block: 'start' });
  $('button', tbody).focus({ preventScroll: true });
}

function sift() {
  const part = $('#filter').value.toLowerCase();
  const all = [...table.tBodies];
  for (const tbody of all) tbody.hidden = !tbody.dataset.name.toLowerCase().includes(part);
  const shown = all.filter((tbody) => !tbody.hidden).length;
  $('#count').textContent = shown === all.length ? `${shown} layers` : `${shown} of ${all.length} layers`;
}

function arrange(by) {
  const number = (tbody) => (tbody.dataset[by] === '' ? -Infinity : Number(tbody.dataset[by]));
  const order = {
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, 'en', { numeric: true }),
    place: (a, b) => a.dataset.place - b.dataset.place,
  };
  const largest = (a, b) => number(b) - number(a) || a.dataset.place - b.dataset.place;
  table.append(...[...table.tBodies].sort(order[by] ?? largest));
  for (const th of table.tHead.rows[0].cells) th.removeAttribute('aria-sort');
  $(`th[data-order="${by}"]`, table)?.setAttribute('aria-sort', by === 'place' ? 'ascending' : 'descending');
  $('#order').value = by;
}

function sortBy(th) {
  const rows = th.closest('table').tBodies[0];
  const up = th.getAttribute('aria-sort') !== 'ascending';
  const last = up ? Infinity : -Infinity; // empty cells come last either way
  const of = (row) => (row.cells[th.cellIndex].dataset.v === '' ? last : Number(row.cells[th.cellIndex].dataset.v));
  for (const other of th.parentNode.cells) other.removeAttribute('aria-sort');
  th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  rows.append(...[...rows.rows].sort((a, b) => (up ? 1 : -1) * (of(a) - of(b) || 0)));
}

// --- the page

function follow() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (id.startsWith('layer-')) open(id);
}

function listen() {
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link?.dataset.step) {
      const { first, end, n } = data.steps;
      setCursor((columnAt((Number(link.dataset.step) + 0.5 - first) / (end - first)) + 0.5) / n);
    }
    if (link?.hash === location.hash) follow();
    const opener = event.target.closest('.layers button[aria-expanded]');
    if (opener) setOpen(opener.closest('tbody'), opener.getAttribute('aria-expanded') !== 'true');
  });
  document.addEventListener('pointermove', (event) => {
    const plot = event.target.closest?.('[data-plot]');
    if (drag) moveDrag(event);
    if (plot) point(plot, event);
    else tip.hidden = true;
  });
  document.addEventListener('pointerdown', (event) => {
    const plot = event.target.closest?.('[data-plot]');
    if (plot) startDrag(plot, event);
  });
  document.addEventListener('pointerup', () => drag && endDrag());
  document.addEventListener('dblclick', (event) => event.target.closest('[data-plot]') && setZoom(0, 1));
  document.addEventListener('keydown', (event) => {
    const plot = event.target.closest?.('[data-plot]');
    if (plot) walk(plot, event);
  });
  document.addEventListener('focusout', () => (tip.hidden = true));
  addEventListener('scroll', () => (tip.hidden = true), { passive: true });
  addEventListener('hashchange', follow);
  addEventListener('beforeprint', () => $$('.more:not([hidden]) canvas').forEach(draw));
  for (const th of $$('table.sortable thead th')) $('button', th).onclick = () => sortBy(th);
  for (const input of $$('input[name="statistic"]')) input.onchange = () => showMap(input.value);
  if (!table) return;
  $('#filter').oninput = sift;
  for (const th of $$('th[data-order]', table)) $('button', th).onclick = () => arrange(th.dataset.order);
  $('#order').onchange = (event) => arrange(event.target.value);
  const every = (on) => [...table.tBodies].filter((tbody) => !tbody.hidden).forEach((tbody) => setOpen(tbody, on));
  $('#all').onclick = () => every(true);
  $('#none').onclick = () => every(false);
}

function navigate() {
  const links = $$('.bar nav a');
  const seen = new IntersectionObserver(
    () => {
      const sections = links.map((link) => body(link.hash.slice(1)));
      const here = sections.findLastIndex((section) => section.getBoundingClientRect().top < innerHeight * 0.4);
      links.forEach((link, i) => (i === Math.max(0, here) ? link.setAttribute('aria-current', 'true') : link.removeAttribute('aria-current')));
    },
    { threshold: [0, 0.05, 0.1, 0.25, 0.5, 0.75, 1], rootMargin: '0px 0px -60% 0px' },
  );
  links.forEach((link) => seen.observe(body(link.hash.slice(1))));
}

async function start() {
  data = await unpack('data');
  now.append('', make('button', { type: 'button', textContent: 'whole run', hidden: true, onclick: () => setZoom(0, 1) }));
  const chosen = $('input[name="statistic"]:checked');
  if (chosen) showMap(chosen.value);
  listen();
  navigate();
  follow();
  root.dataset.ready = 'yes';
}

start();
