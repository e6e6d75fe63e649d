/** The state in which the domain builder hands a vCPU to its first instruction. */

export interface InitialState {
  /** "real": the reset state of Intel SDM 3A 9.1.4 (CS:IP = F000:FFF0). "protected": flat 32-bit, paging off. */
  readonly mode: "real" | "protected";
  readonly eip?: number;
  readonly esp?: number;
  readonly eax?: number;
  readonly ebx?: number;
  readonly ecx?: number;
  readonly edx?: number;
  readonly esi?: number;
  readonly edi?: number;
  readonly ebp?: number;
  /** Flat code and data selectors and the table that defines them; needed in protected mode. */
  readonly codeSelector?: number;
  readonly dataSelector?: number;
  readonly gdt?: { readonly base: number; readonly limit: number };
}

/** One entry of the BIOS memory map, as INT 15h AX=E820h returns it. */
export interface E820Entry {
  readonly base: number;
  readonly size: number;
  /** 1 RAM, 2 reserved, 3 ACPI reclaimable, 4 ACPI NVS. */
  readonly type: number;
}
