// Spans by the OpenTelemetry SDK for Node, whichever release of it: `node spans.js PLAN protobuf|json`.
//
// The plan is JSON: `mark`, `batches` (spans of each), `pause_s`. A line of JSON is printed for each batch. Where
// the spans go to, and with what key, is in OpenTelemetry's own variables. NODE_PATH names the set-up's packages.
'use strict';

const { readFileSync } = require('fs');
const { ROOT_CONTEXT } = require('@opentelemetry/api');

const MOST_SPANS = 5000;
const plan = JSON.parse(process.argv[2]);
const EXPORTERS = {
  protobuf: ['@opentelemetry/exporter-trace-otlp-proto', '@opentelemetry/exporter-otlp-proto'],
  json: ['@opentelemetry/exporter-trace-otlp-http', '@opentelemetry/exporter-otlp-http'],
};

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

const [trace] = installed(['@opentelemetry/sdk-trace', '@opentelemetry/sdk-trace-base']);
const [{ OTLPTraceExporter }, version] = installed(EXPORTERS[process.argv[3]]);
const own = new OTLPTraceExporter();
let acknowledged = false;
let ended = () => {};

// The SDK's own exporter, which tells in passing what an export came to.
const exporter = {
  export(spans, done) {
    own.export(spans, (result) => {
      acknowledged = result.code === 0;
      done(result);
      ended();
    });
  },
  forceFlush: async () => {},
  shutdown: () => own.shutdown(),
};

function processorAndProvider() {
  const sizes = { maxQueueSize: 2 * MOST_SPANS, maxExportBatchSize: MOST_SPANS };
  if (trace.TracerProvider !== undefined) {
    const processor = new trace.BatchSpanProcessor({ exporter, ...sizes });
    return [processor, new trace.TracerProvider({ spanProcessors: [processor] })];
  }
  const processor = new trace.BatchSpanProcessor(exporter, sizes);
  const provider = new trace.BasicTracerProvider();
  provider.addSpanProcessor(processor);
  return [processor, provider];
}

async function main() {
  const [processor, provider] = processorAndProvider();
  const tracer = provider.getTracer('sender', '1.0');
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
