// What if an input were higher or lower? A slider for each, and the changes that they ask the server to make.
import { inputs } from './data.js'
import { $, make, number, signed } from './server.js'

const SEARCHED = 10, MODES = { amount: { reach: 3, step: 0.05 }, percent: { reach: 100, step: 1 } }
let policy, rows = [], series = null

const mode = () => $('mode').value
const isStatic = name => (policy.table?.static || []).includes(name)
const isAhead = name => policy.task === 'forecast' && policy.schema.known.includes(name)
const amount = row => mode() === 'amount' ? +(row.slider.valueAsNumber * row.deviation).toPrecision(3) : row.slider.valueAsNumber
const newest = name => series?.columns?.[name]?.findLast?.(v => Number.isFinite(v))
const length = () => policy.task === 'forecast' ? policy.history : series?.times?.length || policy.history

function stretch(name) {
  if (isStatic(name) || isAhead(name)) return {}
  const steps = $('steps').valueAsNumber, whole = steps >= length()
  if (policy.schema.known.includes(name)) return { first: 1 - Math.min(steps, length()), steps: Math.min(steps, length()) }
  return whole ? {} : { steps }
}
function change(name, value) {
  return { column: name, ...(mode() === 'amount' ? { operation: 'shift', value } : { operation: 'scale', value: +(1 + value / 100).toFixed(4) }), ...stretch(name) }
}

export const changes = () => rows.filter(row => row.slider.valueAsNumber).map(row => change(row.name, amount(row)))
// A change of nothing makes the request a what-if, which the server's monitor does not take for live.
export const nothing = () => { const name = inputs(policy).find(name => !isStatic(name)) ?? inputs(policy)[0]; return { column: name, operation: 'shift', value: 0, ...stretch(name) } }
export const words = () => rows.filter(row => row.slider.valueAsNumber).map(row => `${row.name} ${signed(amount(row))}${mode() === 'percent' ? ' %' : ''}`).join(', ')

// The inputs as they are changed, for the eye; the server makes the changes that count.
export function changed(name, history, future) {
  const row = rows.find(row => row.name === name)
  if (!row?.slider.valueAsNumber) return null
  const by = amount(row), alter = v => v == null ? v : mode() === 'amount' ? v + by : v * (1 + by / 100), steps = $('steps').valueAsNumber
  if (isStatic(name)) return [...history, ...future].map(alter)
  if (isAhead(name)) return [...history, ...future.map(alter)]
  return [...history.map((v, at) => at >= history.length - steps ? alter(v) : v), ...future]
}

function tell(row) {
  const by = amount(row), now = newest(row.name), unit = mode() === 'percent' ? ' %' : ''
  const then = by && now != null ? ` (${number(now)} → ${number(mode() === 'amount' ? now + by : now * (1 + by / 100))})` : ''
  row.said.textContent = by ? `${signed(by)}${unit}${then}` : now != null ? `now ${number(now)}` : ''
  row.slider.setAttribute('aria-valuetext', by ? `${signed(by)}${unit}${then}` : 'unchanged')
  row.slider.parentElement.classList.toggle('moved', Boolean(by))
}
function tellSteps() {
  const steps = $('steps').valueAsNumber, all = steps >= length()
  $('steps-said').textContent = all ? `all ${length()}` : `the newest ${steps}`
  $('steps').setAttribute('aria-valuetext', $('steps-said').textContent)
  $('reset').disabled = !rows.some(row => row.slider.valueAsNumber)
}

// Other data: the sliders stay where they are, the words beside them change.
export function show(ofSeries) {
  const whole = $('steps').value === $('steps').max
  series = ofSeries
  $('steps').max = Math.max(1, length())
  if (whole) $('steps').value = $('steps').max
  rows.forEach(tell)
  tellSteps()
}
export function sliders(ofPolicy, moved) {
  policy = ofPolicy
  const role = name => isStatic(name) ? 'whole series' : isAhead(name) ? 'ahead' : policy.schema.target.includes(name) ? 'target' : ''
  const after = () => { rows.forEach(tell); tellSteps(); moved() }
  rows = inputs(policy).map((name, at) => {
    const id = `slider-${at}`, slider = make('input', { id, type: 'range', class: 'centred', value: 0 }), said = make('output', { for: id }), kind = role(name)
    slider.dataset.column = name
    make('div', { class: 'slider' }, make('label', { for: id }, name, kind && make('small', {}, ` ${kind}`)), said, slider)
    return { name, slider, said, deviation: policy.table?.columns?.[name]?.deviation || 1 }
  })
  for (const row of rows) {
    row.slider.oninput = () => { tell(row); tellSteps(); moved() }
    row.slider.ondblclick = () => { row.slider.value = 0; row.slider.oninput() }
  }
  const ranges = () => {
    const { reach, step } = MODES[mode()]
    for (const { slider } of rows) Object.assign(slider, { min: -reach, max: reach, step, value: 0 })
    $('mode-said').textContent = mode() === 'amount' ? 'From mark to mark is one deviation of the training part.' : 'Of each value: from nothing left to twice as much.'
  }
  $('sliders').replaceChildren(...rows.map(row => row.slider.parentElement))
  $('slider-search').parentElement.hidden = rows.length <= SEARCHED
  $('slider-search').oninput = event => rows.forEach(row => { row.slider.parentElement.hidden = !row.name.toLowerCase().includes(event.target.value.toLowerCase()) })
  $('mode').onchange = () => { ranges(); after() }
  $('steps').oninput = () => { tellSteps(); moved() }
  $('reset').onclick = () => { rows.forEach(row => { row.slider.value = 0 }); $('steps').value = $('steps').max; after() }
  Object.assign($('steps'), { min: 1, max: policy.history, value: policy.history })
  ranges()
}
