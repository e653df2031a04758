// The page of a served policy: asks for what is on show, and shows what comes back. Drawing, reading and telling are beside it.
import * as answer from './answer.js'
import { card } from './card.js'
import { look, watch } from './monitor.js'
import { planning } from './plan.js'
import { $, Refusal, get, keepToken, make, number, post, save, token } from './server.js'
import * as sliders from './sliders.js'
import * as source from './source.js'
import { explain } from './why.js'

const PATIENCE = 140
let policy = null, view = null, asking = null, timer = null

function fact(name, value) { return make('div', {}, make('dt', {}, name), make('dd', {}, value)) }
function introduce() {
  const { schema, task } = policy, made = Object.entries(policy.validation), shown = made.find(([name]) => name === (task === 'forecast' || !policy.classes.length ? 'mae' : 'accuracy'))
  document.title = `${policy.name} · lstm-ray`
  $('title').textContent = policy.name
  $('words').textContent = policy.words
  $('task').textContent = task
  $('task').hidden = false
  const inputs = [...schema.target, ...schema.past, ...schema.known].length
  $('facts').replaceChildren(...[
    ['Version', policy.version.slice(0, 12)], ['A step is', policy.step], ['Reads', `${policy.history} steps of ${inputs} input${inputs === 1 ? '' : 's'}`],
    policy.horizon && ['Tells', `${policy.horizon} steps ahead`], shown && [`${shown[0] === 'mae' ? 'MAE' : 'Accuracy'} on validation`, number(shown[1])], ['Parameters', policy.parameters.toLocaleString('en')],
  ].filter(Boolean).map(([name, value]) => fact(name, value)))
  $('versions').textContent = Object.entries(policy.versions).map(pair => pair.join(' ')).join(', ')
  $('target').replaceChildren(make('option', { value: '' }, `all${schema.target.length > 4 ? ' (first 4)' : ''}`), ...schema.target.map(name => make('option', {}, name)))
  $('target').parentElement.hidden = schema.target.length < 2
  $('shown').parentElement.hidden = task !== 'forecast'
  $('try-title').textContent = { forecast: 'Forecast a series', classify: 'Classify a sequence', label: 'Label the steps of a series' }[task]
  $('inputs-part').open = task !== 'forecast'
}

// The policy's own levels, and the middle half beside them, so that intervals lie in one another.
function quantiles() {
  const own = policy.quantiles
  return own.length > 1 && own[0] < 0.25 && own.at(-1) > 0.75 ? [...new Set([...own, 0.25, 0.75])].sort((a, b) => a - b) : null
}
function body() {
  const changes = sliders.changes(), [first, ...also] = changes.length ? changes : [sliders.nothing()]
  return { series: [source.chosen().series], ...(quantiles() && { quantiles: quantiles() }), scenarios: [{ name: 'what if', ...first, ...(also.length && { also }) }] }
}
// Of answers that cross on their way, the last question's wins; those before it are given up.
async function ask() {
  asking?.abort()
  const mine = asking = new AbortController(), { shown, came } = source.chosen(), changed = sliders.changes().length > 0, words = sliders.words(), began = performance.now()
  document.body.setAttribute('aria-busy', 'true')
  try {
    const found = await post('v1/what-if', body(), mine.signal)
    view = { policy, series: shown, came, base: found.base[0], scenario: changed ? found.scenarios[0] : null, words }
    answer.show(view)
    explain(view, source.chosen().series)
    $('wrong').hidden = true
    $('result').hidden = false
    $('said').textContent = answer.difference(view) || 'Move a slider to see what another input would do.'
    $('said').classList.toggle('hint', !answer.difference(view))
    $('took').textContent = `Answered in ${Math.round(performance.now() - began)} ms by ${found.policy.slice(0, 12)}.`
  } catch (error) {
    if (error.name === 'AbortError') return
    refuse(error)
  } finally { if (asking === mine) document.body.removeAttribute('aria-busy') }
}
function refuse(error) {
  if (!(error instanceof Refusal)) console.error(error)
  if (error.status === 401) return wantToken(error)
  $('wrong').textContent = error.message
  $('wrong').hidden = false
  $('result').hidden = true
  view = null
}
function soon() { sliders.show(source.chosen().shown); clearTimeout(timer); timer = setTimeout(ask, PATIENCE) }

function wantToken(error) {
  $('key').hidden = false
  $('main').hidden = !policy
  if (!policy) { $('title').textContent = 'This server wants its token'; $('words').textContent = 'It was started with one; whoever runs it can tell you.' }
  $('key-said').textContent = $('token').value ? 'That is not the token.' : ''
  $('token').focus()
  if (policy) $('wrong').textContent = error.message
}

function curl() {
  const { series, scenarios } = body(), asked = sliders.changes().length ? ['v1/what-if', { series, scenarios }] : [`v1/${policy.task}`, { series }], quoted = JSON.stringify(asked[1]).replaceAll("'", String.raw`'\''`)
  return `curl -sS '${new URL(asked[0], location.href.split('#')[0])}' -H 'Content-Type: application/json'${token() ? ' -H "Authorization: Bearer $TOKEN"' : ''} -d '${quoted}'`
}
async function copy() {
  try { await navigator.clipboard.writeText(curl()); $('done').textContent = 'Copied.' } catch {
    // Browsers give the clipboard to secure pages alone.
    $('command').hidden = false
    $('command').value = curl()
    $('command').focus()
    $('command').select()
    $('done').textContent = 'Copy it from below.'
  }
}
function download() {
  if (!view) return
  save(`${policy.name}-${view.base.name || 'answer'}.csv`.replace(/[^\w.-]+/g, '-'), answer.csv(view))
  $('done').textContent = 'Saved.'
}

async function showCard() {
  try {
    const parts = card(await get('v1/card', 'text'))
    $('card-text').replaceChildren(...parts)
    $('card-contents').replaceChildren(...parts.filter(part => part.tagName === 'H3').map((part, at) => { part.id = `card-${at}`; return make('a', { href: `#card-${at}` }, part.textContent) }))
  } catch (error) {
    $('card-text').replaceChildren(make('p', { class: 'caption' }, error.status === 404 ? 'This policy carries no model card.' : `The card cannot be shown: ${error.message}`))
  }
}
async function start() {
  const found = await get('v1/policy'), api = await get('openapi.json')
  policy = found
  $('key').hidden = true
  $('main').hidden = false
  introduce()
  const example = path => { const content = api.paths[path].post.requestBody.content['application/json']; return structuredClone((content.example ?? Object.values(content.examples)[0].value).series[0]) }
  sliders.sliders(policy, soon)
  source.sources(policy, example(`/v1/${policy.task}`), soon)
  planning(policy, () => source.planned() ?? example('/v1/plan'))
  showCard()
  await watch()
}
const begin = () => start().catch(error => {
  if (error.status === 401) return wantToken(error)
  $('title').textContent = 'No answer yet'
  $('words').textContent = error.message
})

$('key').onsubmit = event => { event.preventDefault(); keepToken($('token').value.trim()); if (!policy) return begin(); $('key').hidden = true; ask(); look() }
$('target').onchange = $('shown').onchange = () => view && answer.show(view)
$('inputs-part').ontoggle = () => view && answer.show(view)
$('why-part').ontoggle = () => explain(view, source.chosen().series)
$('copy').onclick = copy
$('download').onclick = download
$('look').onclick = look
let wide = innerWidth
addEventListener('resize', () => { if (view && innerWidth !== wide) { wide = innerWidth; answer.show(view) } })
begin()
