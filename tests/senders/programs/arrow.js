// A program that posts Arrow streams of apache-arrow, again until they are acknowledged: `node arrow.js PLAN`.
//
// The plan is JSON: `mark`, `batches` (events of each), `pause_s`, `url`, `key`. A line of JSON is printed for each
// batch. A refusal is answered as docs/http-api.md asks. NODE_PATH names the set-up's packages.
'use strict';

const { randomBytes } = require('crypto');
const { readFileSync } = require('fs');
const arrow = require('apache-arrow');

// The package does not let its description be required.
const { version } = JSON.parse(readFileSync(`${process.env.NODE_PATH}/apache-arrow/package.json`));

const TRIES = 30;
const plan = JSON.parse(process.argv[2]);
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

function body(operation, events) {
  const each = (value) => Array.from({ length: events }, value);
  const table = new arrow.Table({
    event_id: arrow.vectorFromArray(each(() => randomBytes(8).toString('hex')), new arrow.Utf8()),
    trace_id: arrow.vectorFromArray(each(() => randomBytes(16).toString('hex')), new arrow.Utf8()),
    started_at: arrow.vectorFromArray(each(() => Date.now()), new arrow.TimestampMillisecond()),
    duration_us: arrow.vectorFromArray(each(() => 1000), new arrow.Int32()),
    service: arrow.vectorFromArray(each(() => 'sender')),
    operation: arrow.vectorFromArray(each(() => operation)),
  });
  return arrow.tableToIPC(table, 'stream');
}

// Whether it was acknowledged, after as many tries as needed. The bytes are the same: so is the batch.
async function post(bytes) {
  const headers = {
    Authorization: `Bearer ${plan.key}`,
    'Content-Type': 'application/vnd.apache.arrow.stream',
  };
  for (let tried = 0; tried < TRIES; tried += 1) {
    let wait = 1;
    try {
      const answer = await fetch(`${plan.url}/v1/batches`, { method: 'POST', body: bytes, headers });
      await answer.arrayBuffer();
      if (answer.status === 202) return true;
      if (answer.status !== 429 && answer.status !== 503) return false;
      wait = Number(answer.headers.get('retry-after') ?? 1);
    } catch {
      // The receiver is away.
    }
    await pause(wait);
  }
  return false;
}

async function main() {
  for (const [batch, events] of plan.batches.entries()) {
    await pause(plan.pause_s);
    const acknowledged = await post(body(`${plan.mark} ${batch}`, events));
    console.log(JSON.stringify({ batch, events, acknowledged, version }));
  }
}

main();
