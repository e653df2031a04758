// The routes as people read them: what each is for, an example to send, what it answers. All of it is in openapi.json.
import { $, get, keepToken, make, token } from './server.js'

// Arrays of numbers read better on one line, and only their beginning matters here.
const short = value => JSON.stringify(value, (_, v) => Array.isArray(v) && v.length > 4 && typeof v[0] !== 'object' ? [v[0], v[1], `… ${v.length} values in all`] : v, 1)
const block = text => make('pre', { tabindex: 0 }, text)

function curl(path, method, example) {
  const key = token() ? ' -H "Authorization: Bearer $TOKEN"' : '', body = example ? " -H 'Content-Type: application/json' -d @request.json" : '', verb = { get: '', post: example ? '' : ' -X POST' }[method] ?? ` -X ${method.toUpperCase()}`
  return `curl -sS${verb} '${decodeURI(new URL(path.slice(1), location.href))}'${key}${body}`
}
function route(path, method, operation, schemas) {
  const content = operation.requestBody?.content['application/json'], names = new Set([...JSON.stringify(operation).matchAll(/schemas\/(\w+)/g)].map(match => match[1]))
  const example = content && (content.example ?? Object.values(content.examples || {})[0]?.value)
  return make('article', {}, make('h2', {}, make('b', {}, `${method.toUpperCase()} `), path), make('p', {}, operation.summary), operation.description && make('p', { class: 'caption' }, operation.description), make('details', {}, make('summary', {}, 'Details'),
    example && [make('p', {}, 'Example body'), block(short(example))], block(curl(path, method, example)),
    make('p', {}, 'Answers'), block(Object.entries(operation.responses).map(([status, r]) => `${status}  ${r.description}`).join('\n')),
    names.size > 0 && make('p', {}, 'Fields'), [...names].filter(name => schemas[name]).map(name => block(`${name} ${JSON.stringify(schemas[name].properties, null, 1)}`))))
}
async function start() {
  try {
    const api = await get('openapi.json')
    $('key').hidden = true
    $('title').textContent = `API of ${api.info.title}`
    $('words').textContent = api.info.description
    $('list').replaceChildren(...Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => route(path, method, operation, api.components?.schemas || {}))))
  } catch (error) {
    $('key').hidden = error.status !== 401
    $('words').textContent = error.status === 401 ? 'This server wants its bearer token.' : error.message
  }
}
$('key').onsubmit = event => { event.preventDefault(); keepToken($('token').value.trim()); start() }
start()
