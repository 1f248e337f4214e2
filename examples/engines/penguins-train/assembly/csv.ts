import { fail } from "./wasi";

/** One input table. Every row has as many cells as the header. */
export class Table {
  constructor(
    public name: string,
    public header: string[],
    public rows: string[][],
  ) {}

  /** The position of a column, or -1. */
  column(name: string): i32 {
    return this.header.indexOf(name);
  }
}

const QUOTE: u8 = 0x22;
const COMMA: u8 = 0x2c;
const LINE_FEED: u8 = 0x0a;
const CARRIAGE_RETURN: u8 = 0x0d;

/** Reads comma-separated values with a header (RFC 4180). Ends the run with one sentence on bad input. */
export function parseCsv(name: string, bytes: Uint8Array): Table {
  const reader = new CsvReader(name, bytes);
  const first = reader.next();
  if (first === null) fail(name + " is empty: a header line is needed.");
  const header = first!;
  for (let i = 0; i < header.length; i++) {
    if (header[i] == "") fail(name + ", line 1: column " + (i + 1).toString() + " has no name.");
    if (header.indexOf(header[i]) != i)
      fail(name + ', line 1: the column "' + header[i] + '" is named twice.');
  }
  const rows: string[][] = [];
  while (true) {
    const line = reader.line;
    const row = reader.next();
    if (row === null) break;
    if (row.length == 1 && row[0] == "" && header.length > 1) continue;
    if (row.length != header.length) {
      const counts = row.length.toString() + " cells where the header has " + header.length.toString();
      fail(name + ", line " + line.toString() + ": the row has " + counts + ".");
    }
    rows.push(row);
  }
  return new Table(name, header, rows);
}

class CsvReader {
  line: i32 = 1;
  private at: i32 = 0;

  constructor(
    private name: string,
    private bytes: Uint8Array,
  ) {
    const marked = bytes.length >= 3 && bytes[0] == 0xef && bytes[1] == 0xbb && bytes[2] == 0xbf;
    if (marked) this.at = 3;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] == 0) {
        fail(name + " is not a CSV file: it holds a zero byte.");
      }
    }
  }

  /** The cells of the next record; null at the end. */
  next(): string[] | null {
    if (this.at >= this.bytes.length) return null;
    const cells: string[] = [];
    while (true) {
      cells.push(this.cell());
      if (this.at >= this.bytes.length) return cells;
      const separator = this.bytes[this.at++];
      if (separator == COMMA) continue;
      if (separator == CARRIAGE_RETURN && this.at < this.bytes.length && this.bytes[this.at] == LINE_FEED) {
        this.at++;
      }
      this.line++;
      return cells;
    }
  }

  private cell(): string {
    if (this.at < this.bytes.length && this.bytes[this.at] == QUOTE) return this.quotedCell();
    const start = this.at;
    while (this.at < this.bytes.length && !isSeparator(this.bytes[this.at])) {
      if (this.bytes[this.at] == QUOTE) {
        fail(this.name + ", line " + this.line.toString() + ": a quote stands inside an unquoted cell.");
      }
      this.at++;
    }
    return this.text(start, this.at).trim();
  }

  private quotedCell(): string {
    const startLine = this.line;
    let text = "";
    let start = ++this.at;
    while (true) {
      if (this.at >= this.bytes.length) {
        fail(this.name + ", line " + startLine.toString() + ": a quoted cell is not closed.");
      }
      const byte = this.bytes[this.at];
      if (byte == LINE_FEED) this.line++;
      this.at++;
      if (byte != QUOTE) continue;
      text += this.text(start, this.at - 1);
      if (this.at < this.bytes.length && this.bytes[this.at] == QUOTE) {
        text += '"';
        start = ++this.at;
        continue;
      }
      if (this.at < this.bytes.length && !isSeparator(this.bytes[this.at])) {
        fail(this.name + ", line " + this.line.toString() + ": text follows a closing quote.");
      }
      return text;
    }
  }

  private text(start: i32, end: i32): string {
    return String.UTF8.decodeUnsafe(this.bytes.dataStart + start, end - start);
  }
}

function isSeparator(byte: u8): bool {
  return byte == COMMA || byte == LINE_FEED || byte == CARRIAGE_RETURN;
}
