export type * from "./index-port.ts";
export { QUERY_ROWS, QUERY_ROWS_MAX } from "./index-port.ts";
export {
  loadedTable,
  noRows,
  reduceRows,
  rowsOfMarket,
  type LoadedRows,
  type RowChange,
  type Wanted,
} from "./reduce-rows.ts";
export { DIGEST_PAGE_ROWS, digestRows, TableDigest } from "./table-digest.ts";
export {
  EVENTS_TABLE,
  MARKET_TABLES,
  PART_TABLES,
  type Cell,
  type ColumnType,
  type Row,
  type Table,
} from "./tables.ts";
