/**
 * Every system boots and does what it is for, with our firmware and with other people's. Where nothing is missing, the run
 * writes docs/guests.md: guest time is counted in instructions, so that it changes only with the code.
 */
import { existsSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import type { DomainConfig } from "../../src/index.ts";
import { checkoutPath } from "../support/checkout.ts";
import { withDomain } from "./support.ts";
import { SYSTEMS } from "./systems.ts";

interface Firmware {
  readonly name: string;
  readonly config: DomainConfig;
  /** Files that it needs. */
  readonly files: readonly string[];
}

const FIRMWARES: readonly Firmware[] = [
  { name: "vmxon", config: {}, files: [] },
  {
    name: "SeaBIOS, SeaVGABIOS",
    config: { bios: "seabios", vgabios: "seabios" },
    files: ["/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/vgabios-stdvga.bin"],
  },
];

const rows: string[] = [];

for (const firmware of FIRMWARES) {
  const missing = firmware.files.find((file) => !existsSync(file));
  for (const system of SYSTEMS) {
    const skip = system.skip || (missing !== undefined && `${missing} is not installed`);
    test(`${system.name} from ${system.medium}, with ${firmware.name}`, { skip }, async () => {
      await withDomain({ ...system.config(), ...firmware.config }, async (domain) => {
        await system.ready(domain);
        const ready = domain.guestTime();
        await system.check(domain);
        rows.push(
          `| ${system.name} | ${system.medium} | ${firmware.name} | ${ready.toFixed(0)} ms | ${system.checked} |`,
        );
      });
    });
  }
}

after(() => {
  if (rows.length < FIRMWARES.length * SYSTEMS.length) return;
  const text = `# Guests

Systems that boot in every test run, unmodified, from their own media. The time is guest time from power-on until the
system is ready for its user, with 100 million instructions to a second. This page is written by
\`npm test -- systems\`.

| Guest | Medium | Firmware | Ready after | What is checked |
|---|---|---|---|---|
${rows.join("\n")}
`;
  writeFileSync(checkoutPath("docs", "guests.md"), text);
});
