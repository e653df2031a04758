// Plans that the server finds for the series on show: what to do, and what comes of it beside doing nothing.
import { curves, legend } from './chart.js'
import { $, make, number, post } from './server.js'

const repeat = (value, times) => Array(times).fill(value)

function show(policy, series, answer) {
  const [found] = answer.plans, [low, high] = found.saved_interval
  const words = found.kept ? `The plan costs ${number(found.cost)} where doing nothing costs ${number(found.cost_of_nothing)}: it saves ${number(found.saved)}, with a 95 % interval from ${number(low)} to ${number(high)}.` : `No plan beats doing nothing, which costs ${number(found.cost_of_nothing)}.`
  $('plan-said').textContent = words
  $('plan-warnings').replaceChildren(...found.warnings.map(text => make('li', {}, text)))
  const figures = Object.keys(found.actions).map(name => [`Do: ${name}`, { label: `What to do of ${name}`, times: found.times, height: 160, tracks: [{ name: 'nothing', kind: 'history', values: found.nothing[name] }, { name: 'plan', kind: 'forecast', values: found.actions[name] }] }])
  for (const [target, plan] of Object.entries(found.outcome)) {
    const seen = (series.columns?.[target] || []).slice(-found.times.length), times = [...(series.times || []).slice(-seen.length), ...found.times], nothing = found.outcome_of_nothing[target]
    const ahead = values => [...repeat(null, seen.length), ...values]
    figures.push([`Then: ${target}`, { label: `What comes of it: ${target}`, times, edge: seen.length - 1, height: 220, bands: [{ name: '80 % of futures', low: ahead(plan.low), high: ahead(plan.high) }],
      tracks: [{ name: target, kind: 'history', values: [...seen, ...repeat(null, found.times.length)] }, { name: 'doing nothing', kind: 'changed', values: ahead(nothing.mean), from: seen.length }, { name: 'under the plan', kind: 'forecast', values: ahead(plan.mean), from: seen.length }] }])
  }
  $('plan-legend').replaceChildren(legend([['history', 'history, and doing nothing'], ['forecast', 'plan'], ['changed', 'what comes of doing nothing'], ['band', '80 % of futures under the plan']]))
  $('plan-charts').replaceChildren(...figures.map(([title, spec]) => {
    const host = make('div', { class: 'chart' })
    requestAnimationFrame(() => curves(host, spec))
    return make('figure', {}, make('figcaption', {}, title), host)
  }))
}

/* `series`: answers the series to plan for, its future as long as the plan. */
export function planning(policy, series) {
  const { plan } = policy
  $('plan').hidden = !plan
  if (!plan) return
  $('plan-words').textContent = `Decides ${plan.actions.map(action => action.name).join(', ')} for ${plan.steps} steps. Made small: ${plan.objective}.`
  $('find-plan').onclick = async () => {
    $('find-plan').disabled = true
    $('plan-said').className = ''
    $('plan-said').textContent = 'Searching; this takes some seconds…'
    try {
      const one = await series()
      show(policy, one, await post('v1/plan', { series: [one] }))
    } catch (error) {
      $('plan-said').className = 'fault'
      $('plan-said').textContent = error.message
    }
    $('find-plan').disabled = false
  }
}
