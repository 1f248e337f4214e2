import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** One bird as the data set spells it. */
interface Penguin {
  readonly Species: string;
  readonly Island: string;
  readonly "Beak Length (mm)": number | null;
  readonly "Beak Depth (mm)": number | null;
  readonly "Flipper Length (mm)": number | null;
  readonly "Body Mass (g)": number | null;
  readonly Sex: string | null;
}

/** A field station's own table: a name for its file and the CSV text. */
export interface StationTable {
  readonly name: string;
  readonly csv: string;
  readonly rows: number;
}

const HEADER = [
  "species",
  "island",
  "bill_length_mm",
  "bill_depth_mm",
  "flipper_length_mm",
  "body_mass_g",
  "sex",
];

/**
 * What the penguins engine is asked to do. The island is left out: it would tell the species by the
 * station that sent the bird.
 */
export const penguinsArgs = {
  inputs: ["station-a.csv", "station-b.csv"],
  target: "species",
  features: ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"],
} as const;

/**
 * Splits the Palmer penguins (344 birds; K. Gorman, Palmer Station LTER, CC0) by island into the private
 * tables of two field stations: Biscoe and Torgersen (Adelie, Gentoo) and Dream (Adelie, Chinstrap).
 * Source: `data/penguins.json` of the npm package vega-datasets.
 */
export function penguinsByStation(): { stationA: StationTable; stationB: StationTable } {
  const path = fileURLToPath(new URL("../data/penguins.json", import.meta.resolve("vega-datasets")));
  const birds = JSON.parse(readFileSync(path, "utf8")) as readonly Penguin[];
  return {
    stationA: station(
      "station-a.csv",
      birds.filter((bird) => bird.Island !== "Dream"),
    ),
    stationB: station(
      "station-b.csv",
      birds.filter((bird) => bird.Island === "Dream"),
    ),
  };
}

function station(name: string, birds: readonly Penguin[]): StationTable {
  const lines = [HEADER, ...birds.map(cells)].map((row) => row.join(","));
  return { name, csv: `${lines.join("\n")}\n`, rows: birds.length };
}

function cells(bird: Penguin): string[] {
  const values = [
    bird.Species,
    bird.Island,
    bird["Beak Length (mm)"],
    bird["Beak Depth (mm)"],
    bird["Flipper Length (mm)"],
    bird["Body Mass (g)"],
    bird.Sex === "." ? null : bird.Sex,
  ];
  return values.map((value) => (value === null ? "" : String(value)));
}
