/** The local APIC by its registers: priorities, local vectors, the timer's three modes, commands to itself, the 8259 pair. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { APIC } from "../../src/hypervisor/apic-registers.ts";
import type { MmioDevice } from "../../src/hypervisor/device.ts";
import { LocalApic } from "../../src/hypervisor/local-apic.ts";
import { FakeLine } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const ENABLED = 0x1ff;
const MASKED = 0x10000;

class Board {
  readonly clock = new FakeClock();
  readonly intr = new FakeLine();
  /** Where its registers are. */
  base: number | undefined;
  offset = 0n;
  readonly apic: LocalApic;
  readonly pic = { pending: false, vector: 0x08, line: () => ({ set() {} }), acknowledge: () => this.takePic() };

  constructor(software = true) {
    this.apic = new LocalApic({
      clock: this.clock,
      timeStamp: () => BigInt(this.clock.now()) + this.offset,
      intr: this.intr,
      place: (_device: MmioDevice) => ({
        move: (base) => {
          this.base = base;
        },
      }),
    });
    this.apic.connect(this.pic);
    if (software) this.set(APIC.SVR, ENABLED);
  }

  private takePic(): number {
    this.setPic(false);
    return this.pic.vector;
  }

  setPic(level: boolean): void {
    this.pic.pending = level;
    this.apic.lint0Changed(level);
  }

  get(register: number): number {
    return this.apic.read(register, 4);
  }

  set(register: number, value: number): void {
    this.apic.write(register, 4, value);
  }

  fixed(vector: number, level = false): void {
    this.apic.receive({ destination: 0, logical: false, mode: 0, vector, level });
  }

  /** All interrupts that the processor would take one inside the other. */
  take(): number[] {
    const taken: number[] = [];
    while (this.apic.pending) taken.push(this.apic.acknowledge());
    return taken;
  }
}

test("after a reset it stands at FEE00000h, disabled by software, and the 8259 pair and NMI pass", () => {
  const board = new Board(false);
  assert.equal(board.base, 0xfee00000);
  assert.equal(board.apic.base, 0xfee00900);
  assert.deepEqual(
    [APIC.ID, APIC.VERSION, APIC.SVR, APIC.DFR, APIC.LVT_TIMER, APIC.LVT_LINT0, APIC.LVT_LINT1].map((r) =>
      board.get(r),
    ),
    [0, 0x50014, 0xff, 0xffffffff, MASKED, 0x700, 0x400],
  );
  board.setPic(true);
  assert.deepEqual(board.take(), [8]);
  board.fixed(0x40);
  assert.equal(board.apic.pending, false);
  board.apic.raiseLint1();
  assert.deepEqual([board.apic.nmi, board.apic.maskable], [true, false]);
  board.apic.acknowledgeNmi();
  assert.equal(board.apic.pending, false);
});

test("the highest vector comes first; one in service holds back its class and those below; TPR too", () => {
  const board = new Board();
  for (const vector of [0x31, 0x45, 0x42]) board.fixed(vector);
  assert.deepEqual(board.take(), [0x45]);
  assert.equal(board.get(APIC.PPR), 0x40);
  assert.deepEqual(
    [board.get(APIC.ISR + 0x20), board.get(APIC.IRR + 0x20), board.get(APIC.IRR + 0x10)],
    [0x20, 4, 0x20000],
  );
  board.fixed(0x51);
  assert.deepEqual(board.take(), [0x51]);
  board.set(APIC.EOI, 0);
  board.set(APIC.EOI, 0);
  assert.deepEqual(board.take(), [0x42]);
  board.set(APIC.TPR, 0x30);
  board.set(APIC.EOI, 0);
  assert.deepEqual([board.take(), board.get(APIC.PPR)], [[], 0x30]);
  board.set(APIC.TPR, 0x2f);
  assert.deepEqual(board.take(), [0x31]);
});

test("the processor is told when something begins to wait", () => {
  const board = new Board();
  board.fixed(0x31);
  assert.equal(board.intr.level, true);
  board.apic.acknowledge();
  assert.equal(board.intr.level, false);
  assert.equal(board.apic.acknowledge(), 0xff, "spurious");
});

test("the end of a level-triggered interrupt is told, that of others is not", () => {
  const board = new Board();
  const ended: number[] = [];
  board.apic.onEoi = (vector) => ended.push(vector);
  board.fixed(0x31, true);
  board.fixed(0x41, false);
  board.take();
  assert.equal(board.get(APIC.TMR + 0x10), 0x20000);
  board.set(APIC.EOI, 0);
  assert.deepEqual([board.take(), ended], [[0x31], []]);
  assert.equal(board.apic.immediate(APIC.EOI, 4, true, 0), false);
  board.set(APIC.EOI, 0);
  assert.deepEqual(ended, [0x31]);
});

test("the timer counts down once", () => {
  const board = new Board();
  board.set(APIC.LVT_TIMER, 0x31);
  board.set(APIC.TIMER_DIVIDE, 0xb);
  board.set(APIC.TIMER_INITIAL, 1000);
  board.clock.advance(2504);
  assert.equal(board.get(APIC.TIMER_CURRENT), 750);
  board.set(APIC.TIMER_DIVIDE, 0x0);
  board.clock.advance(5000);
  assert.equal(board.get(APIC.TIMER_CURRENT), 500);
  board.clock.advance(9_900);
  assert.deepEqual(board.take(), []);
  board.clock.advance(200);
  assert.deepEqual([board.take(), board.get(APIC.TIMER_CURRENT), board.get(APIC.TIMER_INITIAL)], [[0x31], 0, 1000]);
  board.clock.advance(1e6);
  assert.deepEqual(board.take(), []);
});

test("the timer counts again and again, and what is masked is counted, too", () => {
  const board = new Board();
  board.set(APIC.TIMER_DIVIDE, 0xb);
  board.set(APIC.LVT_TIMER, MASKED | 0x20031);
  board.set(APIC.TIMER_INITIAL, 10_000);
  board.clock.advance(250_000);
  assert.equal(board.get(APIC.TIMER_CURRENT), 5000);
  board.set(APIC.LVT_TIMER, 0x20031);
  let ticks = 0;
  for (let i = 0; i < 100; i++) {
    board.clock.advance(10_000);
    ticks += board.take().length;
    if (board.get(APIC.ISR + 0x10)) board.set(APIC.EOI, 0);
  }
  assert.equal(ticks, 10);
  board.set(APIC.TIMER_INITIAL, 0);
  board.clock.advance(1e6);
  assert.deepEqual(board.take(), []);
});

test("a period that nobody could serve does not hold time up", () => {
  const board = new Board();
  board.set(APIC.TIMER_DIVIDE, 0xb);
  board.set(APIC.LVT_TIMER, 0x20031);
  board.set(APIC.TIMER_INITIAL, 1);
  board.clock.advance(1e6);
  assert.deepEqual(board.take(), [0x31]);
});

test("the timer waits for a time-stamp, also when the counter is set meanwhile", () => {
  const board = new Board();
  board.apic.setDeadline(5000n);
  assert.equal(board.apic.deadline, 0n, "not in that mode");
  board.set(APIC.LVT_TIMER, 0x40031);
  board.apic.setDeadline(5000n);
  board.set(APIC.TIMER_INITIAL, 10);
  assert.equal(board.get(APIC.TIMER_CURRENT), 0);
  board.clock.advance(4000);
  assert.deepEqual([board.apic.deadline, board.take()], [5000n, []]);
  board.offset = -2000n;
  board.apic.timeStampMoved();
  board.clock.advance(1500);
  assert.deepEqual(board.take(), []);
  board.clock.advance(1600);
  assert.deepEqual([board.apic.deadline, board.take()], [0n, [0x31]]);
  board.set(APIC.EOI, 0);
  board.apic.setDeadline(1n);
  board.clock.advance(0);
  assert.deepEqual(board.take(), [0x31], "in the past");
});

test("commands reach the processor by number, by logical name and by shorthand", () => {
  const board = new Board();
  const send = (low: number, high = 0): number[] => {
    board.set(APIC.ICR_HIGH, high);
    board.set(APIC.ICR_LOW, low);
    const taken = board.take();
    for (const _ of taken) board.set(APIC.EOI, 0);
    return taken;
  };
  assert.deepEqual(send(0x31), [0x31]);
  assert.deepEqual(send(0x31, 1 << 24), []);
  assert.deepEqual(send(0x31, -1 << 24), [0x31]);
  assert.deepEqual(send(0x40031), [0x31]);
  assert.deepEqual(send(0x80031), [0x31]);
  assert.deepEqual(send(0xc0031), []);
  board.set(APIC.LDR, 0x24 << 24);
  assert.deepEqual([send(0x831, 0x04 << 24), send(0x831, 0x03 << 24)], [[0x31], []]);
  board.set(APIC.DFR, 0);
  assert.deepEqual([send(0x831, 0x24 << 24), send(0x831, 0x14 << 24)], [[0x31], []]);
  board.set(APIC.ICR_LOW, 0x40400);
  assert.equal(board.apic.nmi, true);
  assert.equal(board.get(APIC.ICR_LOW), 0x40400);
});

test("illegal vectors and registers are errors, shown once the status is written, and interrupt if wanted", () => {
  const board = new Board();
  board.set(APIC.LVT_ERROR, 0x39);
  board.set(APIC.ICR_LOW, 0x40005);
  assert.equal(board.get(APIC.ESR), 0);
  board.set(APIC.ESR, 0);
  assert.deepEqual([board.get(APIC.ESR), board.take()], [0x20, [0x39]]);
  board.fixed(0x0f);
  board.set(0x3f0, 0);
  board.set(APIC.ESR, 0);
  assert.equal(board.get(APIC.ESR), 0xc0);
  board.set(APIC.LVT_ERROR, 0x05);
  board.set(APIC.ICR_LOW, 0x40005);
  board.set(APIC.ESR, 0);
  assert.equal(board.get(APIC.ESR), 0x60);
});

test("LINT0 passes the 8259 pair's vector, or has one of its own, by edge or by level, or is masked", () => {
  const board = new Board();
  board.set(APIC.LVT_LINT0, MASKED | 0x700);
  board.setPic(true);
  assert.deepEqual(board.take(), []);
  board.set(APIC.LVT_LINT0, 0x700);
  assert.deepEqual(board.take(), [8]);
  board.set(APIC.LVT_LINT0, 0x35);
  board.setPic(true);
  assert.deepEqual(board.take(), [0x35]);
  board.set(APIC.EOI, 0);
  assert.deepEqual(board.take(), []);
  board.set(APIC.LVT_LINT0, 0x8035);
  assert.deepEqual(board.take(), [0x35]);
  assert.equal(board.get(APIC.LVT_LINT0), 0xc035);
  board.set(APIC.EOI, 0);
  assert.deepEqual(board.take(), [0x35], "the level is still there");
  board.setPic(false);
  board.set(APIC.EOI, 0);
  assert.deepEqual(board.take(), []);
  board.set(APIC.LVT_LINT0, 0x400);
  board.setPic(true);
  assert.equal(board.apic.nmi, true);
});

test("software disabling masks the local vectors; the enable bit of its MSR makes it go away", () => {
  const board = new Board();
  board.set(APIC.LVT_TIMER, 0x31);
  board.set(APIC.SVR, 0xff);
  assert.equal(board.get(APIC.LVT_TIMER), MASKED | 0x31);
  board.set(APIC.LVT_TIMER, 0x32);
  assert.equal(board.get(APIC.LVT_TIMER), MASKED | 0x32);
  board.setPic(true);
  assert.deepEqual(board.take(), []);
  board.apic.setBase(0xfee00000);
  assert.deepEqual([board.base, board.apic.enabled, board.apic.base], [undefined, false, 0xfee00100]);
  assert.deepEqual(board.take(), [8]);
  board.apic.setBase(0xfec10800);
  assert.deepEqual([board.base, board.get(APIC.LVT_TIMER)], [0xfec10000, MASKED]);
});

test("accesses that ask for the time or may raise something wait; the usual ones do not", () => {
  const { apic, ...board } = new Board();
  assert.deepEqual(board.clock.now(), 0);
  const immediate = (register: number, write: boolean, value = 0): boolean => apic.immediate(register, 4, write, value);
  assert.deepEqual([immediate(APIC.TIMER_CURRENT, false), immediate(APIC.ISR, false)], [false, true]);
  assert.deepEqual(
    [immediate(APIC.EOI, true), immediate(APIC.TPR, true), immediate(APIC.TIMER_INITIAL, true)],
    [true, true, false],
  );
  apic.write(APIC.TPR, 4, 0x40);
  apic.receive({ destination: 0, logical: false, mode: 0, vector: 0x31, level: false });
  assert.deepEqual(
    [immediate(APIC.TPR, true, 0x50), immediate(APIC.TPR, true, 0x20), immediate(APIC.EOI, true)],
    [true, false, false],
  );
});

test("bytes and words are read; only double words are written", () => {
  const board = new Board();
  assert.deepEqual([board.apic.read(APIC.VERSION + 2, 1), board.apic.read(APIC.VERSION, 2)], [5, 0x14]);
  assert.equal(board.apic.read(APIC.VERSION + 4, 4), 0);
  board.apic.write(APIC.TPR, 1, 0x40);
  assert.equal(board.get(APIC.TPR), 0);
});
