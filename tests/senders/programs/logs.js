// Log records by the OpenTelemetry SDK for Node: `node logs.js PLAN protobuf|json`, as spans.js for spans.
'use strict';

const { installed, told, run, SIZES } = require('./exporting.js');

const NAMES = { protobuf: '@opentelemetry/exporter-logs-otlp-proto', json: '@opentelemetry/exporter-logs-otlp-http' };
const [{ LoggerProvider, BatchLogRecordProcessor }] = installed(['@opentelemetry/sdk-logs']);
const [{ OTLPLogExporter }, version] = installed([NAMES[process.argv[3]]]);
const [exporter, state] = told(new OTLPLogExporter());

const processor = new BatchLogRecordProcessor({ exporter, ...SIZES });
const logger = new LoggerProvider({ processors: [processor] }).getLogger('sender', '1.0');
const make = (body) => logger.emit({ severityNumber: 17, severityText: 'ERROR', body });
run({ processor, state, version, make });
