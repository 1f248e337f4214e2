export { measureImage, type Image, type LaunchMeasurements } from "./image.ts";
export { simulatedMeasurement, SimulatedTee } from "./simulated.ts";
