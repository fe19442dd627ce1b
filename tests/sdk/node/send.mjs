// Sends the visits of some people with one SDK: node send.mjs SDK URL WRITE_KEY PREFIX PEOPLE STEPS [SKEW_MS]
// SKEW_MS sets this process's clock wrong before the SDK is loaded.
const [sdk, url, writeKey, prefix, people, steps, skewMs] = process.argv.slice(2)

if (skewMs) {
  const TrueDate = Date
  globalThis.Date = class extends TrueDate {
    constructor(...given) {
      super(...(given.length ? given : [TrueDate.now() + Number(skewMs)]))
    }
    static now() {
      return TrueDate.now() + Number(skewMs)
    }
  }
}

const RETRIES = 30 // a door that is being restarted is back within seconds
let failures = 0
const failed = (error) => {
  if (error) {
    failures += 1
    console.error(String(error.message ?? error))
  }
}

// These SDKs tell of each event whether it was delivered, and flush one batch at a time.
function byCallbacks(sdk) {
  let open = 0
  const calls = ['identify', 'track', 'page', 'screen', 'group', 'alias']
  const counted = (call) => (message) => {
    open += 1
    sdk[call](message, () => (open -= 1))
  }
  const finish = async () => {
    while (open > 0) {
      await sdk.flush()
      await new Promise((done) => setTimeout(done, 5))
    }
  }
  return [Object.fromEntries(calls.map((call) => [call, counted(call)])), finish]
}

const makers = {
  async segment(name) {
    const { Analytics } = await import(name)
    const client = new Analytics({ writeKey, host: url, maxRetries: RETRIES, flushAt: 15, maxEventsInBatch: 15 })
    client.on('error', (error) => failed(error.reason ?? error))
    return [client, () => client.closeAndFlush({ timeout: 60_000 })]
  },
  async old() {
    const { default: Analytics } = await import('analytics-node')
    return byCallbacks(new Analytics(writeKey, { host: url, flushAt: 20, retryCount: RETRIES, errorHandler: failed }))
  },
  async rudder() {
    const { default: Analytics } = await import('@rudderstack/rudder-sdk-node')
    return byCallbacks(new Analytics(writeKey, { dataPlaneUrl: url, flushAt: 20, retryCount: RETRIES, errorHandler: failed }))
  },
}
const choices = {
  'analytics-node-3': () => makers.segment('@segment/analytics-node-3'),
  'analytics-node-2': () => makers.segment('@segment/analytics-node'),
  'analytics-node-old': makers.old,
  'rudder-sdk-node': makers.rudder,
}

const [client, finish] = await choices[sdk]()
for (let number = 0; number < Number(people); number += 1) {
  const userId = `${prefix}-${number}`
  client.identify({ userId, traits: { email: `${userId}@example.com`, seat: number } })
  for (let step = 1; step <= Number(steps); step += 1) {
    client.track({ userId, event: `Step ${step}`, properties: { step } })
  }
  client.page({ userId, name: 'Home', properties: { path: '/' } })
  client.screen({ userId, name: 'Start' })
  client.group({ userId, groupId: `${prefix}-club`, traits: { size: 3 } })
  client.alias({ userId, previousId: `${userId}-before` })
}
await finish()
process.exit(failures ? 1 : 0)
