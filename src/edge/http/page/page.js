'use strict';
// What the page shows is asked for every second. Names of topics are somebody's text: they only ever go into textContent.

const EVERY_MS = 1000;
const LEGEND = [
  ['x', 'stopped'], ['s', 'stuck'], ['p', 'paused'], ['u', 'finding its place'], ['a', 'not behind'], ['b', 'behind ≤ 1 s'],
  ['c', 'behind ≤ 5 s'], ['d', 'behind ≤ 15 s'], ['e', 'behind ≤ 1 min'], ['f', 'behind ≤ 5 min'], ['g', 'behind ≤ 30 min'],
  ['h', 'behind ≤ 3 h'], ['i', 'behind > 3 h, or not known for how long'],
];
const HEAT_ROWS = ['none', '1 s', '5 s', '15 s', '1 min', '5 min', '30 min', '3 h', 'more'];

const byId = (id) => document.getElementById(id);
const set = (id, text) => { const at = byId(id); if (at.textContent !== text) at.textContent = text; };
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

let look = null;
let chosen = -1;
let grid = { columns: 1, size: 1, count: 0 };

function scaled(n, step, names) {
  let at = 0;
  while (n >= step * 0.9995 && at + 1 < names.length) { n /= step; at += 1; }
  const digits = at === 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
  return n.toFixed(digits) + ' ' + names[at];
}
const bytes = (n) => scaled(n, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);
const memory = (n) => scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
const count = (n) => Math.round(n).toLocaleString('en-US');
const short = (n) => (n < 100000 ? count(n) : scaled(n, 1000, ['', 'k', 'M', 'G', 'T', 'P']));
function span(ms) {
  const s = Math.floor(ms / 1000);
  if (ms < 1000) return Math.round(ms) + ' ms';
  if (s < 60) return (ms / 1000).toFixed(s < 10 ? 1 : 0) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + (s % 60) + ' s';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + (Math.floor(s / 60) % 60) + ' min';
  return Math.floor(s / 86400) + ' d ' + (Math.floor(s / 3600) % 24) + ' h';
}
const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');

function element(kind, text, name) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

// A canvas that is as sharp as the screen is, and its size in CSS pixels.
function drawing(id, height) {
  const canvas = byId(id);
  const width = canvas.clientWidth;
  const dense = window.devicePixelRatio || 1;
  if (height) canvas.style.height = height + 'px';
  const tall = height || canvas.clientHeight;
  const [w, h] = [Math.round(width * dense), Math.round(tall * dense)];
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const pen = canvas.getContext('2d');
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, width, tall);
  return { pen, width, height: tall };
}

function figures() {
  set('link', look.link);
  document.title = look.link + ' – Twinlog';
  set('clusters', look.source_cluster + ' → ' + look.target_cluster);
  set('rate', bytes(look.bytes_per_second) + '/s');
  const limit = look.max_rate_bytes === null ? '' : ' · limit ' + bytes(look.max_rate_bytes) + '/s';
  set('records', short(look.records_per_second) + ' records/s' + limit);
  if (look.lag_records === null) {
    set('lag', 'not known yet');
    set('age', '');
  } else {
    set('lag', look.lag_records === 0 ? 'nothing' : short(look.lag_records));
    const parts = look.lag_records === 0 ? [] : [look.lag_records === 1 ? 'record' : 'records'];
    if (look.lag_records > 0 && look.lag_ms > 0) parts.push(span(look.lag_ms));
    if (look.eta_ms !== null) parts.push('caught up in ' + span(look.eta_ms));
    set('age', parts.join(' · '));
  }
  set('cpu', (look.busy_cores * 100).toFixed(0) + ' %');
  set('cores', 'of ' + look.cores + (look.cores === 1 ? ' core' : ' cores, the busiest ' + (look.busiest_core * 100).toFixed(0) + ' %'));
  set('limiter', look.limiter === null ? 'not known: the source, the target or the network' : look.limiter.replaceAll('-', '\u2011'));
  set('buffers', 'buffers ' + memory(look.buffered_bytes) + ' of ' + memory(look.buffer_bytes));
  set('foot', 'Twinlog ' + look.version + ', up for ' + span(look.elapsed_ms));
}

function health(problem) {
  const at = byId('health');
  const troubles = look ? look.sick_count + look.problems.length : 0;
  if (problem) at.textContent = problem;
  else if (troubles === 0) at.textContent = 'Healthy';
  else at.textContent = troubles === 1 ? 'One thing needs attention' : count(troubles) + ' things need attention';
  at.className = problem || troubles ? 'bad' : 'good';
}

function sick() {
  byId('sick-part').hidden = look.sick.length + look.problems.length === 0;
  set('sick-count', count(look.sick_count + look.problems.length));
  const lines = look.problems.map((problem) => element('li', problem));
  for (const lane of look.sick) {
    const line = element('li');
    line.append(element('b', lane.topic + '-' + lane.partition), ' ' + lane.why);
    lines.push(line);
  }
  const more = look.sick_count - look.sick.length;
  if (more > 0) lines.push(element('li', 'and ' + count(more) + ' more'));
  byId('sick').replaceChildren(...lines);
}

function cells() {
  const { total, caught_up: caughtUp, paused, stopped } = look.lanes;
  const parts = [count(total), count(caughtUp) + ' not behind'];
  if (paused) parts.push(count(paused) + ' paused');
  if (stopped) parts.push(count(stopped) + ' stopped');
  set('counts', parts.join(' · '));
  const width = byId('cells').clientWidth;
  // As large as fits into some 260 px, but for a finger or the eye not too small.
  let size = 22;
  while (size > 4 && Math.ceil(total / Math.floor(width / size)) * size > 260) size -= 1;
  const columns = Math.max(1, Math.floor(width / size));
  grid = { columns, size, count: total };
  const { pen } = drawing('cells', Math.max(1, Math.ceil(total / columns)) * size);
  const gap = size > 6 ? 2 : 1;
  const colours = Object.fromEntries(LEGEND.map(([letter]) => [letter, colour(letter)]));
  let at = 0;
  for (const [, letter, run] of look.cells.matchAll(/([a-z])(\d+)/g)) {
    pen.fillStyle = colours[letter];
    for (const end = at + Number(run); at < end; at += 1) {
      pen.fillRect((at % columns) * size, Math.floor(at / columns) * size, size - gap, size - gap);
    }
  }
  if (chosen >= 0 && chosen < total) {
    pen.strokeStyle = colour('text');
    pen.lineWidth = 2;
    pen.strokeRect((chosen % columns) * size - 1, Math.floor(chosen / columns) * size - 1, size - gap + 2, size - gap + 2);
  }
  const there = new Set(Array.from(look.cells.matchAll(/[a-z]/g), (letter) => letter[0]));
  byId('legend').replaceChildren(...LEGEND.filter(([letter]) => there.has(letter)).map(([letter, words]) => {
    const part = element('span');
    const spot = element('i');
    spot.style.background = colours[letter];
    part.append(spot, words);
    return part;
  }));
}

// Each band of the sparks is as high as its largest value.
function spark(id, values) {
  const { pen, width, height } = drawing(id);
  const most = Math.max(...values, 1e-9);
  const step = width / Math.max(1, values.length - 1);
  pen.beginPath();
  values.forEach((value, at) => pen.lineTo(at * step, height - 1.5 - (value / most) * (height - 4)));
  pen.strokeStyle = colour('accent');
  pen.lineWidth = 1.5;
  pen.stroke();
  pen.lineTo((values.length - 1) * step, height);
  pen.lineTo(0, height);
  pen.globalAlpha = 0.15;
  pen.fillStyle = colour('accent');
  pen.fill();
  pen.globalAlpha = 1;
}

function heat() {
  const columns = look.history.columns;
  if (columns.length === 0) return;
  const rows = look.history.rows_ms.length + 2;
  const rowHeight = 16;
  const left = 62;
  const below = 18;
  const { pen, width } = drawing('heat', rows * rowHeight + below);
  const step = (width - left) / Math.max(columns.length, 60);
  const most = Math.log1p(Math.max(...columns.map((column) => Math.max(...column[5]))));
  const ink = colour('heat');
  pen.font = '11px system-ui, sans-serif';
  pen.textBaseline = 'middle';
  for (let row = 0; row < rows; row += 1) {
    const y = (rows - 1 - row) * rowHeight;
    pen.fillStyle = colour('dim');
    pen.textAlign = 'right';
    pen.fillText((row > 0 && row < rows - 1 ? '≤ ' : '') + HEAT_ROWS[row], left - 6, y + rowHeight / 2);
    columns.forEach((column, at) => {
      const lanes = column[5][row];
      pen.fillStyle = `rgba(${ink}, ${lanes ? 0.15 + 0.85 * (Math.log1p(lanes) / most) : 0.04})`;
      pen.fillRect(left + at * step, y, Math.max(step - (step > 4 ? 1 : 0), 0.5), rowHeight - 1);
    });
  }
  const [from, to] = [columns[0][0], columns[columns.length - 1][0]];
  const y = rows * rowHeight + below / 2;
  const right = left + columns.length * step;
  pen.fillStyle = colour('dim');
  pen.textAlign = 'left';
  pen.fillText(clock(from), left, y);
  if (right - left > 130) {
    pen.textAlign = 'right';
    pen.fillText(clock(to), right, y);
  }
  set('span', columns.length > 1 ? 'the last ' + span(to - from) : '');
}

function events() {
  const lines = look.events.slice().reverse().map((event) => {
    const line = element('li');
    line.append(element('time', clock(event.at_ms)), ' ', element('b', event.kind));
    if (event.topic !== null) line.append(' ' + event.topic + '-' + event.partition);
    line.append(': ' + event.text);
    if (event.times > 1) line.append(element('span', ' × ' + count(event.times)));
    return line;
  });
  byId('events').replaceChildren(...(lines.length ? lines : [element('li', 'nothing yet')]));
}

function draw() {
  if (!look) return;
  figures();
  sick();
  cells();
  spark('rate-spark', look.history.columns.map((column) => column[1]));
  spark('cpu-spark', look.history.columns.map((column) => column[2]));
  spark('lag-spark', look.history.columns.map((column) => column[3]));
  heat();
  events();
}

async function ask(path) {
  const answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(8000) });
  if (!answer.ok) throw new Error((await answer.text()).trim() || 'status ' + answer.status);
  return answer.json();
}

async function tell(at) {
  chosen = at;
  cells();
  try {
    const { lanes: [lane] } = await ask('/lanes?at=' + at);
    if (at !== chosen || !lane) return;
    const known = (n) => (n === null ? 'not known' : count(n));
    let text = `${lane.topic}-${lane.partition}: ${lane.state}, offsets ${lane.offsets}, at ${known(lane.position)} of ${known(lane.source_end)}`;
    if (lane.lag_records) text += `, ${count(lane.lag_records)} behind`;
    if (lane.lag_ms) text += ` (${span(lane.lag_ms)})`;
    set('detail', lane.why === null ? text : text + '; ' + lane.why);
  } catch (problem) {
    set('detail', String(problem.message));
  }
}

function cellAt(event) {
  const box = byId('cells').getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const column = Math.floor(x / grid.size);
  const at = Math.floor(y / grid.size) * grid.columns + column;
  return column >= 0 && column < grid.columns && at >= 0 && at < grid.count ? at : -1;
}

let pointed = 0;
for (const kind of ['pointermove', 'pointerdown']) {
  byId('cells').addEventListener(kind, (event) => {
    const at = cellAt(event);
    if (at < 0 || at === chosen) return;
    clearTimeout(pointed);
    // Who sweeps over thousands of cells does not mean each of them.
    pointed = setTimeout(() => tell(at), kind === 'pointerdown' ? 0 : 60);
  });
}
byId('cells').addEventListener('keydown', (event) => {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -grid.columns, ArrowDown: grid.columns };
  const at = Math.max(0, chosen) + (steps[event.key] || 0);
  if (!steps[event.key] || at < 0 || at >= grid.count) return;
  event.preventDefault();
  tell(at);
});
window.addEventListener('resize', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);

async function refresh() {
  if (!document.hidden || !look) {
    try {
      look = await ask('/live');
      draw();
      health(look.silent_ms > 10000 ? 'The mirror has said nothing for ' + span(look.silent_ms) : '');
    } catch (problem) {
      health(problem.message === 'starting' ? 'The mirror is starting' : 'The mirror does not answer: ' + problem.message);
    }
  }
  setTimeout(refresh, EVERY_MS);
}
refresh();
