/** A game of bootOS is played: keys and timer reach a program that talks to the bare PC. */
import { test } from "node:test";
import { guest, sees, until, withDomain } from "./support.ts";

const bootos = guest("hobby", "bootos-osall.img");

test("bootOS: the snake moves by itself, and turns", { skip: bootos.skip }, async () => {
  await withDomain({ fda: bootos.path }, async (domain) => {
    await sees(domain, /^\$$/);
    await domain.keyboard.type("snake\n");
    await sees(domain, /^Score: 1$/);
    const head = (): { row: number; column: number } | undefined => {
      const rows = domain.screen.text().split("\n");
      const row = rows.findIndex((text) => text.includes("@"));
      return row < 0 ? undefined : { row, column: rows[row]!.indexOf("@") };
    };
    const start = await until(domain, "the snake", head);
    await until(domain, "the snake to move by itself", () => (head()?.column === start.column ? undefined : true));
    await domain.keyboard.type("w");
    await until(domain, "the snake to turn", () => ((head()?.row ?? start.row) < start.row ? true : undefined));
  });
});
