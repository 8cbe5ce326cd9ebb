// Spans by the OpenTelemetry SDK for Node, whichever release of it: `node spans.js PLAN protobuf|json`.
//
// The plan is JSON: `mark`, `batches` (spans of each), `pause_s`. A line of JSON is printed for each batch. Where
// the spans go to, and with what key, is in OpenTelemetry's own variables. NODE_PATH names the set-up's packages.
'use strict';

const trace = require('@opentelemetry/sdk-trace-base');
const { ROOT_CONTEXT } = require('@opentelemetry/api');

const MOST_SPANS = 5000;
const plan = JSON.parse(process.argv[2]);
const NAMES = {
  protobuf: ['@opentelemetry/exporter-trace-otlp-proto', '@opentelemetry/exporter-otlp-proto'],
  json: ['@opentelemetry/exporter-trace-otlp-http', '@opentelemetry/exporter-otlp-http'],
}[process.argv[3]];

// The package was renamed in 2022.
function installed(names) {
  for (const name of names) {
    try {
      return [require(name), require(`${name}/package.json`).version];
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new Error(`none of these is installed: ${names}`);
}

const [{ OTLPTraceExporter }, version] = installed(NAMES);
const exporter = new OTLPTraceExporter();
let acknowledged = false;
let ended = () => {};

// The SDK's own exporter, which tells in passing what an export came to.
const told = {
  export(spans, done) {
    exporter.export(spans, (result) => {
      acknowledged = result.code === 0;
      done(result);
      ended();
    });
  },
  forceFlush: async () => {},
  shutdown: () => exporter.shutdown(),
};

const processor = new trace.BatchSpanProcessor(told, {
  maxQueueSize: 2 * MOST_SPANS,
  maxExportBatchSize: MOST_SPANS,
});

function provider() {
  if (trace.BasicTracerProvider.prototype.addSpanProcessor === undefined) {
    return new trace.BasicTracerProvider({ spanProcessors: [processor] });
  }
  const old = new trace.BasicTracerProvider();
  old.addSpanProcessor(processor);
  return old;
}

async function main() {
  const tracer = provider().getTracer('sender', '1.0');
  for (const [batch, events] of plan.batches.entries()) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * plan.pause_s));
    acknowledged = false;
    const exported = new Promise((resolve) => { ended = resolve; });
    for (let span = 0; span < events; span += 1) {
      tracer.startSpan(`${plan.mark} ${batch}`, { root: true }, ROOT_CONTEXT).end();
    }
    await processor.forceFlush().catch(() => {});
    await exported;
    console.log(JSON.stringify({ batch, events, acknowledged, version }));
  }
  await processor.shutdown();
}

main();
