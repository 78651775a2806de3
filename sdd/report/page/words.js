// Names and numbers as people read them.

const NAMES = {
  dataset: "data set",
  noise: "label noise",
  noise_rate: "noise rate, as it came out",
  weight_decay: "weight decay λ",
  teacher_model: "teacher's model",
  teacher_objective: "teacher's objective",
  alpha: "α, the teacher's weight",
  temperature: "temperature τ",
  test_accuracy: "test accuracy [%]",
  validation_accuracy: "validation accuracy [%]",
  train_accuracy: "training accuracy, on the noisy labels [%]",
  train_clean_accuracy: "training accuracy, on the true labels [%]",
  sparsity: "sparsity [%]",
  dense_chain: "chain under which its dense round lies",
  weights_kept: "weights kept",
  weights_total: "weights of the dense model",
  flops: "training FLOPs of the round, the paper's rule",
  flops_computed: "training FLOPs of the round, really computed",
  macs: "multiply-accumulates of the dense model, an image",
  seconds: "seconds of training of the round",
  energy_kwh: "energy of the round [kWh]",
  co2_g: "CO2 of the round [g]",
  ended: "round after which the chain was ended",
  instruction_set: "instruction set",
  weights_sha256: "sha256 of the weights",
};

const COST_NAMES = {
  flops: "FLOPs until then, the paper's rule",
  seconds: "seconds of training until then",
  energy_kwh: "energy until then [kWh]",
  co2_g: "CO2 until then [g]",
  weights_kept: "size: weights kept",
};

const nameOf = (column) => NAMES[column] ?? column.replaceAll("_", " ");

// Four digits are enough to read; every digit is in the downloads and in rounds.csv.
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return value.toLocaleString("en-GB");
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-3)
    return Number(value.toPrecision(4)).toExponential().replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

function shown(value) {
  if (typeof value === "number") return number(value);
  return value === null || value === undefined || value === "" ? "–" : String(value);
}

// Plotly takes some signs in texts for markup.
const plain = (text) =>
  String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const counted = (n, one, many = `${one}s`) =>
  `${n.toLocaleString("en-GB")} ${n === 1 ? one : many}`;
