import { Dataset, Sample } from "./dataset";
import { solveSymmetric } from "./linear";
import { Options } from "./options";
import { fail } from "./wasi";

const PARAMETERS_MAX = 1024;
const HALVINGS_MAX = 40;

/** How raw cells become numbers; learnt from the training rows alone. */
export class Scaling {
  means: Float64Array;
  deviations: Float64Array;

  constructor(dataset: Dataset, samples: Sample[]) {
    const count = dataset.features.length;
    this.means = new Float64Array(count);
    this.deviations = new Float64Array(count);
    for (let i = 0; i < count; i++) if (dataset.features[i].numeric) this.learn(i, dataset.features[i].name, samples);
  }

  /** Writes one sample as numbers; the last place is the constant. */
  encode(dataset: Dataset, sample: Sample, into: Float64Array, offset: i32): void {
    let at = offset;
    for (let i = 0; i < dataset.features.length; i++) {
      const feature = dataset.features[i];
      const cell = sample.cells[i];
      if (feature.numeric) {
        const spread = this.deviations[i];
        into[at++] = cell == "" || spread == 0 ? 0 : (parseFloat(cell) - this.means[i]) / spread;
        continue;
      }
      for (let j = 0; j < feature.levels.length; j++) into[at++] = feature.levels[j] == cell ? 1 : 0;
    }
    into[at] = 1;
  }

  private learn(feature: i32, name: string, samples: Sample[]): void {
    let count: f64 = 0;
    let sum: f64 = 0;
    for (let i = 0; i < samples.length; i++) {
      if (samples[i].cells[feature] == "") continue;
      sum += parseFloat(samples[i].cells[feature]);
      count++;
    }
    if (count == 0) return;
    const mean = sum / count;
    let squares: f64 = 0;
    for (let i = 0; i < samples.length; i++) {
      if (samples[i].cells[feature] == "") continue;
      const difference = parseFloat(samples[i].cells[feature]) - mean;
      squares += difference * difference;
    }
    this.means[feature] = mean;
    this.deviations[feature] = Math.sqrt(squares / count);
    if (!isFinite(this.deviations[feature])) {
      fail('The column "' + name + '" holds numbers that are too large to be scaled.');
    }
  }
}

/**
 * Multinomial logistic regression: one weight vector per class the training rows show, the constant
 * last in each. All weights carry the L2 penalty, which makes the minimum unique.
 */
export class Model {
  weights: Float64Array = new Float64Array(0);
  /** Positions in the data set's classes. */
  classes: i32[] = [];
  iterations: i32 = 0;
  converged: bool = false;
  gradientMax: f64 = 0;
  rowsTrain: i32;

  constructor(
    public dataset: Dataset,
    public scaling: Scaling,
    samples: Sample[],
  ) {
    this.rowsTrain = samples.length;
    for (let label = 0; label < dataset.classes.length; label++) {
      for (let i = 0; i < samples.length; i++) {
        if (samples[i].label != label) continue;
        this.classes.push(label);
        break;
      }
    }
  }

  /** The class this model gives a sample, as a position in the data set's classes. */
  predict(sample: Sample): i32 {
    const width = this.dataset.width;
    const x = new Float64Array(width);
    this.scaling.encode(this.dataset, sample, x, 0);
    let best = 0;
    let bestScore = -Infinity;
    for (let k = 0; k < this.classes.length; k++) {
      let score: f64 = 0;
      for (let i = 0; i < width; i++) score += this.weights[k * width + i] * x[i];
      if (score > bestScore) {
        best = k;
        bestScore = score;
      }
    }
    return this.classes[best];
  }
}

/**
 * Trains to the minimum of the mean log loss plus l2/(2n) times the squared weights, by Newton's method
 * with step halving. It has converged once no component of the gradient exceeds the tolerance.
 */
export function train(dataset: Dataset, samples: Sample[], options: Options): Model {
  const model = new Model(dataset, new Scaling(dataset, samples), samples);
  const width = dataset.width;
  const classes = model.classes.length;
  const size = classes * width;
  if (size > PARAMETERS_MAX) {
    fail(
      "The model would have " + size.toString() + " weights; " + PARAMETERS_MAX.toString() + " are allowed.",
    );
  }
  model.weights = new Float64Array(size);
  if (classes < 2) {
    model.converged = true;
    return model;
  }
  const objective = new Objective(model, samples, options.l2);
  let loss = objective.evaluate(model.weights, true);
  while (true) {
    model.gradientMax = largest(objective.gradient);
    model.converged = model.gradientMax <= options.tolerance;
    if (model.converged || model.iterations == options.iterationsMax) return model;
    const step = solveSymmetric(objective.hessian, objective.gradient, size);
    const next = descend(objective, model.weights, step, loss);
    if (next === null) return model;
    model.weights = next;
    model.iterations++;
    loss = objective.evaluate(next, true);
  }
}

/** Halves the step until the loss falls enough (Armijo); null when rounding leaves nothing to gain. */
function descend(
  objective: Objective,
  from: Float64Array,
  step: Float64Array,
  loss: f64,
): Float64Array | null {
  let slope: f64 = 0;
  for (let i = 0; i < step.length; i++) slope += step[i] * objective.gradient[i];
  let scale: f64 = 1;
  for (let halvings = 0; halvings < HALVINGS_MAX; halvings++) {
    const to = new Float64Array(from.length);
    for (let i = 0; i < from.length; i++) to[i] = from[i] - scale * step[i];
    // The last steps gain less than the loss can resolve; a slope that small is accepted as it is.
    if (slope < 1e-14 || objective.evaluate(to, false) <= loss - 1e-4 * scale * slope) return to;
    scale /= 2;
  }
  return null;
}

function largest(values: Float64Array): f64 {
  let max: f64 = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, Math.abs(values[i]));
  return max;
}

/** The function to minimise, with its derivatives at the last point where they were asked for. */
class Objective {
  gradient: Float64Array;
  hessian: Float64Array;
  private width: i32;
  private classes: i32;
  private inputs: Float64Array;
  private labels: Int32Array;
  private penalty: f64;

  constructor(model: Model, samples: Sample[], l2: f64) {
    const width = model.dataset.width;
    const size = model.classes.length * width;
    const inputs = new Float64Array(samples.length * width);
    const labels = new Int32Array(samples.length);
    for (let i = 0; i < samples.length; i++) {
      model.scaling.encode(model.dataset, samples[i], inputs, i * width);
      labels[i] = model.classes.indexOf(samples[i].label);
    }
    this.width = width;
    this.classes = model.classes.length;
    this.inputs = inputs;
    this.labels = labels;
    this.penalty = l2 / <f64>samples.length;
    this.gradient = new Float64Array(size);
    this.hessian = new Float64Array(size * size);
  }

  /** The loss at a point; with `derivatives`, gradient and Hessian are refreshed too. */
  evaluate(weights: Float64Array, derivatives: bool): f64 {
    const count = <f64>this.labels.length;
    let loss: f64 = 0;
    if (derivatives) {
      this.gradient.fill(0);
      this.hessian.fill(0);
    }
    const chances = new Float64Array(this.classes);
    for (let n = 0; n < this.labels.length; n++) {
      loss += this.chances(weights, n * this.width, this.labels[n], chances);
      if (derivatives) this.accumulate(n * this.width, this.labels[n], chances, 1 / count);
    }
    loss /= count;
    const size = weights.length;
    for (let i = 0; i < size; i++) {
      loss += 0.5 * this.penalty * weights[i] * weights[i];
      if (!derivatives) continue;
      this.gradient[i] += this.penalty * weights[i];
      this.hessian[i * size + i] += this.penalty;
    }
    return loss;
  }

  /** Fills in the classes' probabilities for one sample and returns its log loss. */
  private chances(weights: Float64Array, offset: i32, label: i32, into: Float64Array): f64 {
    let max: f64 = -Infinity;
    for (let k = 0; k < this.classes; k++) {
      let score: f64 = 0;
      for (let i = 0; i < this.width; i++) score += weights[k * this.width + i] * this.inputs[offset + i];
      into[k] = score;
      max = Math.max(max, score);
    }
    const labelScore = into[label];
    let sum: f64 = 0;
    for (let k = 0; k < this.classes; k++) {
      into[k] = Math.exp(into[k] - max);
      sum += into[k];
    }
    for (let k = 0; k < this.classes; k++) into[k] /= sum;
    return Math.log(sum) + max - labelScore;
  }

  private accumulate(offset: i32, label: i32, chances: Float64Array, weight: f64): void {
    const width = this.width;
    const size = this.classes * width;
    for (let k = 0; k < this.classes; k++) {
      const error = weight * (chances[k] - (k == label ? 1.0 : 0.0));
      for (let i = 0; i < width; i++) this.gradient[k * width + i] += error * this.inputs[offset + i];
      for (let l = 0; l <= k; l++) {
        const curvature = weight * chances[k] * ((k == l ? 1.0 : 0.0) - chances[l]);
        for (let i = 0; i < width; i++) {
          const left = curvature * this.inputs[offset + i];
          const row = (k * width + i) * size + l * width;
          for (let j = 0; j < width; j++) this.hessian[row + j] += left * this.inputs[offset + j];
        }
      }
    }
  }
}
