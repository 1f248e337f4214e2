/**
 * A priority queue of events in typed arrays: no object and no closure per event. Ties in time are
 * broken by order of insertion, so that a run repeats exactly. An event carries a kind and three integers;
 * anything larger waits in a table that the integers point into.
 */
export class EventQueue {
  #times: Float64Array;
  #orders: Float64Array;
  #slots: Int32Array;
  /** Per slot: kind and the three operands. */
  #data: Int32Array;
  #free: Int32Array;
  #freeCount = 0;
  #size = 0;
  #inserted = 0;

  /** The event last taken. */
  timeMs = 0;
  kind = 0;
  a = 0;
  b = 0;
  c = 0;

  constructor(capacity = 1024) {
    this.#times = new Float64Array(capacity);
    this.#orders = new Float64Array(capacity);
    this.#slots = new Int32Array(capacity);
    this.#data = new Int32Array(capacity * 4);
    this.#free = new Int32Array(capacity);
    this.#refill(0, capacity);
  }

  get size(): number {
    return this.#size;
  }

  #refill(from: number, to: number): void {
    for (let slot = to - 1; slot >= from; slot--) this.#free[this.#freeCount++] = slot;
  }

  #grow(): void {
    const before = this.#times.length;
    const copy = <Column extends Float64Array | Int32Array>(next: Column, column: Column): Column => {
      next.set(column);
      return next;
    };
    this.#times = copy(new Float64Array(before * 2), this.#times);
    this.#orders = copy(new Float64Array(before * 2), this.#orders);
    this.#slots = copy(new Int32Array(before * 2), this.#slots);
    this.#data = copy(new Int32Array(before * 8), this.#data);
    this.#free = copy(new Int32Array(before * 2), this.#free);
    this.#refill(before, before * 2);
  }

  push(timeMs: number, kind: number, a: number, b: number, c: number): void {
    if (this.#freeCount === 0) this.#grow();
    const slot = this.#free[--this.#freeCount] as number;
    const at = slot << 2;
    const data = this.#data;
    data[at] = kind;
    data[at + 1] = a;
    data[at + 2] = b;
    data[at + 3] = c;
    this.#siftUp(this.#size++, timeMs, this.#inserted++, slot);
  }

  #siftUp(start: number, timeMs: number, order: number, slot: number): void {
    const times = this.#times;
    const orders = this.#orders;
    const slots = this.#slots;
    let hole = start;
    while (hole > 0) {
      const parent = (hole - 1) >> 2;
      const parentMs = times[parent] as number;
      if (parentMs < timeMs || (parentMs === timeMs && (orders[parent] as number) < order)) break;
      times[hole] = parentMs;
      orders[hole] = orders[parent] as number;
      slots[hole] = slots[parent] as number;
      hole = parent;
    }
    times[hole] = timeMs;
    orders[hole] = order;
    slots[hole] = slot;
  }

  /** Takes the earliest event into the fields. False when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false;
    this.timeMs = this.#times[0] as number;
    const slot = this.#slots[0] as number;
    const at = slot << 2;
    this.kind = this.#data[at] as number;
    this.a = this.#data[at + 1] as number;
    this.b = this.#data[at + 2] as number;
    this.c = this.#data[at + 3] as number;
    this.#free[this.#freeCount++] = slot;
    this.#size--;
    if (this.#size > 0) this.#siftDown();
    return true;
  }

  /** Moves the last event into the root's place. Four children per parent: fewer levels to touch. */
  #siftDown(): void {
    const times = this.#times;
    const orders = this.#orders;
    const slots = this.#slots;
    const size = this.#size;
    const timeMs = times[size] as number;
    const order = orders[size] as number;
    let hole = 0;
    for (;;) {
      const first = (hole << 2) + 1;
      if (first >= size) break;
      const end = first + 4 < size ? first + 4 : size;
      let least = first;
      let leastMs = times[first] as number;
      for (let child = first + 1; child < end; child++) {
        const childMs = times[child] as number;
        if (
          childMs < leastMs ||
          (childMs === leastMs && (orders[child] as number) < (orders[least] as number))
        ) {
          least = child;
          leastMs = childMs;
        }
      }
      if (leastMs > timeMs || (leastMs === timeMs && (orders[least] as number) > order)) break;
      times[hole] = leastMs;
      orders[hole] = orders[least] as number;
      slots[hole] = slots[least] as number;
      hole = least;
    }
    times[hole] = timeMs;
    orders[hole] = order;
    slots[hole] = slots[size] as number;
  }

  /** When the earliest event is due. */
  nextMs(): number {
    return this.#size === 0 ? Infinity : (this.#times[0] as number);
  }
}
