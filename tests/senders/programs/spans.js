// Spans by the OpenTelemetry SDK for Node, whichever release of it: `node spans.js PLAN protobuf|json`.
//
// The plan is JSON: `mark`, `batches` (spans of each), `pause_s`. A line of JSON is printed for each batch. Where
// the spans go to, and with what key, is in OpenTelemetry's own variables.
'use strict';

const { installed, told, run, SIZES } = require('./exporting.js');

const EXPORTERS = {
  protobuf: ['@opentelemetry/exporter-trace-otlp-proto', '@opentelemetry/exporter-otlp-proto'],
  json: ['@opentelemetry/exporter-trace-otlp-http', '@opentelemetry/exporter-otlp-http'],
};
const [trace] = installed(['@opentelemetry/sdk-trace', '@opentelemetry/sdk-trace-base']);
const [{ ROOT_CONTEXT }] = installed(['@opentelemetry/api']);
const [{ OTLPTraceExporter }, version] = installed(EXPORTERS[process.argv[3]]);
const [exporter, state] = told(new OTLPTraceExporter());

function processorAndProvider() {
  if (trace.TracerProvider !== undefined) {
    const processor = new trace.BatchSpanProcessor({ exporter, ...SIZES });
    return [processor, new trace.TracerProvider({ spanProcessors: [processor] })];
  }
  const processor = new trace.BatchSpanProcessor(exporter, SIZES);
  const provider = new trace.BasicTracerProvider();
  provider.addSpanProcessor(processor);
  return [processor, provider];
}

const [processor, provider] = processorAndProvider();
const tracer = provider.getTracer('sender', '1.0');
const make = (operation) => tracer.startSpan(operation, { root: true }, ROOT_CONTEXT).end();
run({ processor, state, version, make });
