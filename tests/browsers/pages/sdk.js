// A page with the OpenTelemetry SDK, as docs/browsers.md shows it; `?to=` is where its exporter posts.
import { context, propagation, ROOT_CONTEXT, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { BatchSpanProcessor, WebTracerProvider } from "@opentelemetry/sdk-trace-web";

const asked = new URLSearchParams(location.search);
const exporting = (options) =>
  new OTLPTraceExporter({
    url: asked.get("to"),
    headers: asked.has("key") ? { Authorization: `Bearer ${asked.get("key")}` } : undefined,
    ...options,
  });
const provider = new WebTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporting())] });
provider.register();

/** So many spans, a parent and its children; resolves with the trace id when the exporter has sent them. */
window.spans = async (count) => {
  const tracer = trace.getTracer("page");
  const parent = tracer.startSpan("load");
  for (let n = 1; n < count; n += 1) {
    tracer.startSpan(`step ${n}`, {}, trace.setSpan(context.active(), parent)).end();
  }
  parent.setStatus({ code: SpanStatusCode.OK });
  parent.end();
  await provider.forceFlush();
  return parent.spanContext().traceId;
};

/** So many spans in one batch, of which each begins a trace; resolves with whether the exporter was told that it is kept. */
window.batch = async (operation, count) => {
  const patient = exporting({ timeoutMillis: 60000 });
  let kept = false;
  const told = {
    export: (spans, done) => patient.export(spans, (result) => done(result, (kept = result.code === 0))),
    forceFlush: async () => {},
    shutdown: () => patient.shutdown(),
  };
  const sizes = { maxQueueSize: 10000, maxExportBatchSize: 5000, exportTimeoutMillis: 70000 };
  const batches = new WebTracerProvider({ spanProcessors: [new BatchSpanProcessor(told, sizes)] });
  const tracer = batches.getTracer("page");
  for (let n = 0; n < count; n += 1) tracer.startSpan(operation, { root: true }, ROOT_CONTEXT).end();
  await batches.forceFlush().catch(() => {});
  await batches.shutdown();
  return kept;
};

/** A batch posted by a page whose instrumentation adds the headers of its trace to each request. */
window.traced = async (url, body) => {
  const headers = { "Content-Type": "application/x-ndjson", baggage: "shop=1" };
  const span = trace.getTracer("page").startSpan("post");
  propagation.inject(trace.setSpan(context.active(), span), headers);
  const answer = await fetch(url, { method: "POST", body, headers });
  return { status: answer.status, sent: Object.keys(headers) };
};
