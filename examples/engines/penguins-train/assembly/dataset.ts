import { Table } from "./csv";
import { isNumber } from "./json";
import { Options } from "./options";
import { fail } from "./wasi";

const LEVELS_MAX = 32;
const CLASSES_MAX = 64;

/** One column the model learns from. A number fills one place of a sample, a category one per level. */
export class Feature {
  levels: string[] = [];
  missing: i32 = 0;

  constructor(
    public name: string,
    public numeric: bool,
  ) {}

  get width(): i32 {
    return this.numeric ? 1 : this.levels.length;
  }
}

/** One usable row of one input. `cells` are in the order of the features; missing ones are empty. */
export class Sample {
  heldOut: bool = false;

  constructor(
    public input: i32,
    public label: i32,
    public cells: string[],
    public hash: u64,
  ) {}
}

/** Every input's usable rows under one common reading. */
export class Dataset {
  inputs: string[] = [];
  classes: string[] = [];
  features: Feature[] = [];
  samples: Sample[] = [];
  rowsDropped: i32 = 0;

  /** How many places one sample fills, the constant included. */
  get width(): i32 {
    let width = 1;
    for (let i = 0; i < this.features.length; i++) width += this.features[i].width;
    return width;
  }
}

/** Reads all tables alike and fixes which rows are held out. Ends the run with one sentence on bad input. */
export function buildDataset(tables: Table[], options: Options): Dataset {
  const dataset = new Dataset();
  for (let i = 0; i < tables.length; i++) {
    dataset.inputs.push(tables[i].name);
    requireColumn(tables[i], options.target);
  }
  const names = featureNames(tables, options);
  for (let i = 0; i < names.length; i++) dataset.features.push(readFeature(tables, names[i]));
  dataset.classes = readClasses(tables, options.target);
  for (let i = 0; i < tables.length; i++) addSamples(dataset, tables[i], i, options);
  holdOut(dataset, options.heldOutFraction);
  return dataset;
}

function featureNames(tables: Table[], options: Options): string[] {
  let names = options.features;
  if (names.length == 0) {
    for (let i = 0; i < tables[0].header.length; i++) {
      const name = tables[0].header[i];
      if (name != options.target && !options.exclude.includes(name)) names.push(name);
    }
  }
  if (names.length == 0) fail('There is no column to learn from besides "' + options.target + '".');
  if (names.includes(options.target)) fail('"' + options.target + '" cannot be target and feature at once.');
  for (let i = 0; i < tables.length; i++) {
    for (let j = 0; j < names.length; j++) requireColumn(tables[i], names[j]);
  }
  return names;
}

function requireColumn(table: Table, name: string): void {
  if (table.column(name) >= 0) return;
  fail(table.name + ' has no column "' + name + '"; its columns are ' + table.header.join(", ") + ".");
}

/** A column is numeric when every cell that is there is a number, in all tables. */
function readFeature(tables: Table[], name: string): Feature {
  const feature = new Feature(name, true);
  for (let i = 0; i < tables.length; i++) {
    const column = tables[i].column(name);
    for (let j = 0; j < tables[i].rows.length; j++) {
      const cell = tables[i].rows[j][column];
      if (isMissing(cell)) continue;
      if (!isNumber(cell)) feature.numeric = false;
      if (feature.levels.length <= LEVELS_MAX && !feature.levels.includes(cell)) feature.levels.push(cell);
    }
  }
  if (feature.levels.length == 0) fail('The column "' + name + '" is empty in every input.');
  if (feature.numeric) feature.levels = [];
  else if (feature.levels.length > LEVELS_MAX) {
    fail(
      'The column "' + name + '" holds text with more than ' + LEVELS_MAX.toString() + " different values.",
    );
  }
  feature.levels.sort();
  return feature;
}

function readClasses(tables: Table[], target: string): string[] {
  const classes: string[] = [];
  for (let i = 0; i < tables.length; i++) {
    const column = tables[i].column(target);
    for (let j = 0; j < tables[i].rows.length; j++) {
      const label = tables[i].rows[j][column];
      if (isMissing(label) || classes.includes(label)) continue;
      if (classes.length == CLASSES_MAX) {
        fail('The column "' + target + '" holds more than ' + CLASSES_MAX.toString() + " classes.");
      }
      classes.push(label);
    }
  }
  if (classes.length < 2) fail('The column "' + target + '" must hold at least two classes.');
  classes.sort();
  return classes;
}

/**
 * A row without a label, or without a single value to learn from, cannot be used and is counted as
 * dropped. In any other row a missing number later stands at the training mean and a missing category
 * at no level; both are counted by feature.
 */
function addSamples(dataset: Dataset, table: Table, input: i32, options: Options): void {
  const target = table.column(options.target);
  const columns: i32[] = [];
  for (let i = 0; i < dataset.features.length; i++) columns.push(table.column(dataset.features[i].name));
  for (let i = 0; i < table.rows.length; i++) {
    const row = table.rows[i];
    const cells: string[] = [];
    let present = 0;
    for (let j = 0; j < columns.length; j++) {
      const cell = isMissing(row[columns[j]]) ? "" : row[columns[j]];
      if (cell != "") present++;
      cells.push(cell);
    }
    if (present == 0 || isMissing(row[target])) {
      dataset.rowsDropped++;
      continue;
    }
    for (let j = 0; j < cells.length; j++) if (cells[j] == "") dataset.features[j].missing++;
    const label = dataset.classes.indexOf(row[target]);
    dataset.samples.push(new Sample(input, label, cells, hashRow(options.seed, row[target], cells)));
  }
}

/**
 * Holds out, in each class, the rows whose content hashes lowest. Which rows these are depends on the
 * rows' content and the seed alone, not on their order, their input or who trains; equal rows share
 * a hash and thus a side, so that no held-out row has its twin in training.
 */
function holdOut(dataset: Dataset, fraction: f64): void {
  for (let label = 0; label < dataset.classes.length; label++) {
    const hashes: u64[] = [];
    for (let i = 0; i < dataset.samples.length; i++) {
      if (dataset.samples[i].label == label) hashes.push(dataset.samples[i].hash);
    }
    const count = <i32>Math.round(<f64>hashes.length * fraction);
    if (count == 0) continue;
    hashes.sort((a: u64, b: u64): i32 => (a < b ? -1 : a > b ? 1 : 0));
    const last = hashes[count - 1];
    for (let i = 0; i < dataset.samples.length; i++) {
      const sample = dataset.samples[i];
      if (sample.label == label && sample.hash <= last) sample.heldOut = true;
    }
  }
}

/** FNV-1a over the UTF-8 cells with separators, then the SplitMix64 finalizer to spread the high bits. */
function hashRow(seed: string, label: string, cells: string[]): u64 {
  const text = seed + "\x1e" + label + "\x1f" + cells.join("\x1f");
  const bytes = Uint8Array.wrap(String.UTF8.encode(text));
  let hash: u64 = 0xcbf29ce484222325;
  for (let i = 0; i < bytes.length; i++) hash = (hash ^ <u64>bytes[i]) * 0x100000001b3;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}

function isMissing(cell: string): bool {
  return (
    cell == "" ||
    cell == "." ||
    cell == "?" ||
    cell == "NA" ||
    cell == "N/A" ||
    cell == "NaN" ||
    cell == "null"
  );
}
