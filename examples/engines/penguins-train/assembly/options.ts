import { Json, JsonKind, parseJson } from "./json";
import { fail } from "./wasi";

/** What the order's arguments may say. spec/engine.md §6 */
export class Options {
  target: string = "label";
  features: string[] = [];
  exclude: string[] = [];
  seed: string = "";
  heldOutFraction: f64 = 0.25;
  l2: f64 = 1;
  tolerance: f64 = 1e-8;
  iterationsMax: i32 = 100;
}

/** Reads the arguments; null means that every option keeps its default. */
export function readOptions(bytes: Uint8Array | null): Options {
  const options = new Options();
  if (bytes === null) return options;
  const text = String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
  const json = parseJson("args.json", text);
  if (json.kind != JsonKind.Object) fail("args.json must hold an object.");
  for (let i = 0; i < json.names.length; i++) setOption(options, json.names[i], json.items[i]);
  return options;
}

function setOption(options: Options, name: string, value: Json): void {
  if (name == "target") options.target = text(name, value);
  else if (name == "features") options.features = texts(name, value);
  else if (name == "exclude") options.exclude = texts(name, value);
  else if (name == "seed") options.seed = text(name, value);
  else if (name == "heldOutFraction") options.heldOutFraction = number(name, value, 0.01, 0.9);
  else if (name == "l2") options.l2 = number(name, value, 1e-6, 1e6);
  else if (name == "tolerance") options.tolerance = number(name, value, 1e-12, 1e-2);
  else if (name == "iterationsMax") options.iterationsMax = <i32>number(name, value, 1, 10000);
  else if (name != "inputs") fail('args.json: the member "' + name + '" is unknown.');
}

function text(name: string, value: Json): string {
  if (value.kind != JsonKind.Text || value.text == "") fail('args.json: "' + name + '" must be a text.');
  return value.text;
}

function texts(name: string, value: Json): string[] {
  if (value.kind != JsonKind.Array) fail('args.json: "' + name + '" must be a list of texts.');
  const list: string[] = [];
  for (let i = 0; i < value.items.length; i++) list.push(text(name, value.items[i]));
  return list;
}

function number(name: string, value: Json, min: f64, max: f64): f64 {
  if (value.kind != JsonKind.Number || value.number < min || value.number > max) {
    fail('args.json: "' + name + '" must be a number from ' + min.toString() + " to " + max.toString() + ".");
  }
  return value.number;
}
