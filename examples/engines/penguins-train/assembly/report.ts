import { Dataset, Sample } from "./dataset";
import { JsonWriter } from "./json";
import { Model } from "./model";
import { Options } from "./options";

/** How one model does on the joint held-out rows. */
export class Score {
  right: i32 = 0;
  total: i32 = 0;
  /** Rows: the true class; columns: the class given. */
  confusion: Int32Array;

  constructor(model: Model, heldOut: Sample[]) {
    const classes = model.dataset.classes.length;
    this.confusion = new Int32Array(classes * classes);
    for (let i = 0; i < heldOut.length; i++) {
      const given = model.predict(heldOut[i]);
      this.confusion[heldOut[i].label * classes + given]++;
      if (given == heldOut[i].label) this.right++;
      this.total++;
    }
  }

  get accuracy(): f64 {
    return <f64>this.right / <f64>this.total;
  }
}

/** Writes the trained model: everything that is needed to classify a new row. */
export function modelText(model: Model, options: Options): string {
  const dataset = model.dataset;
  const json = new JsonWriter().open("{");
  json.name("kind").string("multinomial-logistic-regression");
  json.name("target").string(options.target);
  json.name("l2").number(options.l2);
  json.name("classes");
  stringList(json, dataset.classes);
  json.name("features").open("[");
  for (let i = 0; i < dataset.features.length; i++) {
    const feature = dataset.features[i];
    json.open("{").name("name").string(feature.name);
    json.name("kind").string(feature.numeric ? "numeric" : "categorical");
    if (feature.numeric) {
      json.name("mean").number(model.scaling.means[i]);
      json.name("deviation").number(model.scaling.deviations[i]);
    } else {
      json.name("levels");
      stringList(json, feature.levels);
    }
    json.close("}");
  }
  json.close("]").name("weights").open("[");
  const width = dataset.width;
  for (let k = 0; k < model.classes.length; k++) {
    json.open("[");
    for (let i = 0; i < width - 1; i++) json.number(model.weights[k * width + i]);
    json.close("]");
  }
  json.close("]").name("intercepts").open("[");
  for (let k = 0; k < model.classes.length; k++) json.number(model.weights[k * width + width - 1]);
  return json.close("]").close("}").text();
}

/** Writes the figures: the joint model's, then those of a model trained on each input alone. */
export function metricsText(joint: Model, alone: Model[], heldOut: Sample[], options: Options): string {
  const dataset = joint.dataset;
  const json = new JsonWriter().open("{");
  const score = new Score(joint, heldOut);
  scoreMembers(json, joint, score);
  json.name("tolerance").number(options.tolerance);
  json.name("classes");
  stringList(json, dataset.classes);
  json.name("rowsHeldOut").integer(heldOut.length);
  json.name("rowsDropped").integer(dataset.rowsDropped);
  json.name("missing").open("{");
  for (let i = 0; i < dataset.features.length; i++) {
    json.name(dataset.features[i].name).integer(dataset.features[i].missing);
  }
  json.close("}").name("alone").open("[");
  for (let i = 0; i < alone.length; i++) {
    json.open("{").name("input").string(dataset.inputs[i]);
    if (alone[i].rowsTrain > 0) scoreMembers(json, alone[i], new Score(alone[i], heldOut));
    else json.name("accuracy").raw("null").name("rowsTrain").integer(0);
    json.name("classesSeen").open("[");
    for (let k = 0; k < alone[i].classes.length; k++) json.string(dataset.classes[alone[i].classes[k]]);
    json.close("]").close("}");
  }
  return json.close("]").close("}").text();
}

function scoreMembers(json: JsonWriter, model: Model, score: Score): void {
  const classes = model.dataset.classes.length;
  json.name("accuracy").number(score.accuracy);
  json.name("confusion").open("[");
  for (let row = 0; row < classes; row++) {
    json.open("[");
    for (let column = 0; column < classes; column++) json.integer(score.confusion[row * classes + column]);
    json.close("]");
  }
  json.close("]").name("iterations").integer(model.iterations);
  json.name("converged").raw(model.converged ? "true" : "false");
  json.name("gradientMax").number(model.gradientMax);
  json.name("rowsTrain").integer(model.rowsTrain);
}

function stringList(json: JsonWriter, list: string[]): void {
  json.open("[");
  for (let i = 0; i < list.length; i++) json.string(list[i]);
  json.close("]");
}
