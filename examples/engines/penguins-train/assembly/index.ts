/**
 * Trains one classifier on tables that belong to different owners, and tells what each of them would
 * have got alone. Reads inputs/* (CSV) and args.json, writes outputs/model.json and outputs/metrics.json.
 */
import { parseCsv, Table } from "./csv";
import { buildDataset, Sample } from "./dataset";
import { Model, train } from "./model";
import { readOptions } from "./options";
import { metricsText, modelText } from "./report";
import { fail, listDirectory, readFile, writeFile } from "./wasi";

const options = readOptions(readFile("args.json"));
const dataset = buildDataset(readTables(), options);
const heldOut: Sample[] = [];
const training: Sample[] = [];
for (let i = 0; i < dataset.samples.length; i++) {
  (dataset.samples[i].heldOut ? heldOut : training).push(dataset.samples[i]);
}
if (heldOut.length == 0 || training.length == 0) {
  fail("There are too few rows to hold some out: " + dataset.samples.length.toString() + " can be used.");
}
const joint = train(dataset, training, options);
const alone: Model[] = [];
for (let input = 0; input < dataset.inputs.length; input++) {
  const own: Sample[] = [];
  for (let i = 0; i < training.length; i++) if (training[i].input == input) own.push(training[i]);
  alone.push(train(dataset, own, options));
}
writeFile("outputs/model.json", modelText(joint, options));
writeFile("outputs/metrics.json", metricsText(joint, alone, heldOut, options));

function readTables(): Table[] {
  const names = listDirectory("inputs");
  if (names.length == 0) fail("There is no input to train on.");
  const tables: Table[] = [];
  for (let i = 0; i < names.length; i++) {
    const bytes = readFile("inputs/" + names[i]);
    if (bytes === null) fail("The input " + names[i] + " cannot be read.");
    tables.push(parseCsv(names[i], bytes!));
  }
  return tables;
}
