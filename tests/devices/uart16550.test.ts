/** The 16550A: registers, interrupts and their priorities, FIFOs, time-out, loop-back, modem lines. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Uart16550 } from "../../src/devices/uart16550.ts";
import { FakeLine } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const [DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7];

function setup() {
  const clock = new FakeClock();
  const irq = new FakeLine();
  const sent: number[] = [];
  const uart = new Uart16550({ clock, irq, sink: { write: (byte) => sent.push(byte) } });
  const read = (register: number): number => uart.read(register, 1);
  const write = (register: number, value: number): void => uart.write(register, 1, value);
  write(LCR, 3);
  write(MCR, 0x0b);
  return { clock, irq, sent, uart, read, write };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("transmitted bytes leave at once and the transmitter is never busy", () => {
  const { sent, read, write } = setup();
  for (const byte of bytes("ok")) {
    assert.equal(read(LSR) & 0x60, 0x60);
    write(DATA, byte);
  }
  assert.deepEqual(sent, [...bytes("ok")]);
});

test("short words cut the upper bits", () => {
  const { sent, write } = setup();
  write(LCR, 0);
  write(DATA, 0xff);
  assert.deepEqual(sent, [0x1f]);
});

test("the transmitter interrupt: on enabling, after each byte, gone once IIR was read", () => {
  const { clock, irq, read, write } = setup();
  write(IER, 2);
  assert.equal(irq.level, true, "an empty transmitter asks at once");
  assert.equal(read(IIR), 0x02);
  assert.equal(irq.level, false);
  assert.equal(read(IIR), 0x01);
  write(DATA, 0x41);
  assert.equal(read(IIR), 0x01, "not within the same interrupt");
  clock.advance(20_000);
  assert.equal(irq.level, true);
  write(DATA, 0x42);
  assert.equal(irq.level, false, "data takes the request back");
  clock.advance(20_000);
  assert.equal(irq.edges, 3);
  write(IER, 0);
  assert.equal(irq.level, false);
});

test("without FIFOs each received byte interrupts and waits to be read", () => {
  const { irq, uart, read, write } = setup();
  write(IER, 1);
  assert.equal(uart.receive(bytes("abc")), 3);
  const got = [];
  while (irq.level) {
    assert.equal(read(IIR), 0x04);
    got.push(read(DATA));
  }
  assert.equal(String.fromCharCode(...got), "abc");
  assert.equal(irq.edges, 3);
  assert.equal(read(LSR) & 1, 0);
  assert.equal(read(DATA), 0x63, "the register keeps its byte");
});

test("FIFOs interrupt at their trigger level, or after four characters of silence", () => {
  const { clock, irq, uart, read, write } = setup();
  write(IIR, 0x81);
  write(IER, 1);
  uart.receive(bytes("1234567"));
  assert.equal(irq.level, false);
  assert.equal(read(IIR), 0xc1);
  clock.advance(6e6);
  assert.equal(read(IIR), 0xcc);
  assert.equal(read(DATA), 0x31);
  assert.equal(irq.level, false, "reading restarts the time-out");
  uart.receive(bytes("89"));
  assert.equal(read(IIR), 0xc4);
  read(DATA);
  assert.equal(read(IIR), 0xc1);
});

test("much input waits in the queue and nothing overruns", () => {
  const { uart, read, write } = setup();
  write(IIR, 0x01);
  const text = "x".repeat(1000);
  assert.equal(uart.receive(bytes(text)), 1000);
  assert.equal(uart.queued, 1000);
  let count = 0;
  while (read(LSR) & 1) {
    read(DATA);
    count++;
  }
  assert.equal(count, 1000);
  assert.equal(read(LSR) & 2, 0);
});

test("the queue takes no more than it holds", () => {
  const { uart } = setup();
  const accepted = uart.receive(new Uint8Array(100_000));
  assert.ok(accepted >= 65_536 && accepted < 100_000);
  assert.ok(uart.receive(new Uint8Array(10)) <= 1);
});

test("turning FIFOs off or clearing them drops their content", () => {
  const { uart, read, write } = setup();
  write(IIR, 0x01);
  uart.receive(bytes("abc"));
  write(IIR, 0x03);
  assert.equal(read(LSR) & 1, 0);
  assert.equal(read(IIR) & 0xc0, 0xc0);
  write(IIR, 0x00);
  assert.equal(read(IIR) & 0xc0, 0);
});

test("loop-back: data comes back, overruns, and modem outputs show as inputs", () => {
  const { irq, sent, read, write } = setup();
  write(MCR, 0x1f);
  assert.equal(read(MSR) & 0xf0, 0xf0);
  write(MCR, 0x1a);
  assert.equal(read(MSR) & 0xf0, 0x90, "RTS and OUT2 as CTS and DCD");
  write(DATA, 0x55);
  assert.equal(read(LSR) & 1, 1);
  write(DATA, 0x66);
  assert.equal(read(LSR) & 3, 3);
  assert.equal(read(LSR) & 2, 0, "reading clears the error");
  assert.equal(read(DATA), 0x66);
  assert.deepEqual(sent, []);
  assert.equal(irq.edges, 0);
});

test("changes of the modem lines are noted, and RI only when it falls", () => {
  const { read, write } = setup();
  read(MSR);
  write(MCR, 0x10);
  assert.equal(read(MSR), 0x0b, "CTS, DSR and DCD fell");
  write(MCR, 0x14);
  assert.equal(read(MSR), 0x40);
  write(MCR, 0x10);
  assert.equal(read(MSR), 0x04);
});

test("OUT2 connects the interrupt to the bus", () => {
  const { irq, uart, write } = setup();
  write(MCR, 0x03);
  write(IER, 1);
  uart.receive(bytes("a"));
  assert.equal(irq.level, false);
  write(MCR, 0x0b);
  assert.equal(irq.level, true);
});

test("divisor latch and scratch register", () => {
  const { read, write } = setup();
  write(LCR, 0x83);
  write(DATA, 0x01);
  write(IER, 0x02);
  assert.equal(read(DATA), 0x01);
  assert.equal(read(IER), 0x02);
  write(LCR, 0x03);
  assert.equal(read(IER), 0);
  write(SCR, 0xa5);
  assert.equal(read(SCR), 0xa5);
  write(MCR, 0xff);
  assert.equal(read(MCR), 0x1f, "a 16550A has five bits there");
});
