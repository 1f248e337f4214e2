export { measureImage, type Image, type LaunchMeasurements } from "./image.ts";
export { simulatedMeasurement, SimulatedTee } from "./simulated.ts";
export { openTsmTee, TSM_REPORT_FOLDER, TsmTee, type TsmFiles, type TsmReport } from "./tsm.ts";
