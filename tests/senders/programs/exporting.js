// What spans.js and logs.js share. NODE_PATH names the set-up's packages.
'use strict';

const { readFileSync } = require('fs');

const plan = JSON.parse(process.argv[2]);

// The first of these packages that the set-up has, and its version: they were renamed over the years.
function installed(names) {
  for (const name of names) {
    try {
      const { version } = JSON.parse(readFileSync(`${process.env.NODE_PATH}/${name}/package.json`));
      return [require(name), version];
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
  throw new Error(`none of these is installed: ${names}`);
}

// An exporter of the SDK, which tells in passing what its last export came to.
function told(own) {
  const state = { acknowledged: false, ended: () => {} };
  const exporter = {
    export(items, done) {
      own.export(items, (result) => {
        state.acknowledged = result.code === 0;
        done(result);
        state.ended();
      });
    },
    forceFlush: async () => {},
    shutdown: () => own.shutdown(),
  };
  return [exporter, state];
}

// Make the plan's batches with `make`, one after the other, and print a line of JSON for each.
async function run({ processor, state, version, make }) {
  for (const [batch, events] of plan.batches.entries()) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * plan.pause_s));
    state.acknowledged = false;
    const exported = new Promise((resolve) => { state.ended = resolve; });
    for (let event = 0; event < events; event += 1) make(`${plan.mark} ${batch}`);
    await processor.forceFlush().catch(() => {});
    await exported;
    console.log(JSON.stringify({ batch, events, acknowledged: state.acknowledged, version }));
  }
  await processor.shutdown();
}

module.exports = { installed, told, run, SIZES: { maxQueueSize: 10000, maxExportBatchSize: 5000 } };
