import { verify, type Endorsements, type TrustRoots } from "@cloister/attestation";
import type { Tee } from "@cloister/core";
import { describe, expect, test } from "vitest";

/** A TEE under test, and what verifies its evidence. */
export interface TeeUnderTest {
  readonly tee: Tee;
  readonly endorsements: Endorsements;
  readonly roots: TrustRoots;
  readonly nowMs: number;
}

/** What every TEE behind the port must do. `open` starts the same code on the same machine each time. */
export function teeCompliance(name: string, open: () => Promise<TeeUnderTest>): void {
  describe(`${name} keeps the TEE port's promises`, () => {
    const data = (fill: number): Uint8Array => new Uint8Array(64).fill(fill);

    test("evidence verifies and binds what the caller chose", async () => {
      const { tee, endorsements, roots, nowMs } = await open();
      const bytes = await tee.evidence(data(1));
      const verdict = verify({ tee: endorsements.tee, bytes }, endorsements, {
        nowMs,
        roots,
        challenge: data(1),
      });
      expect(verdict.ok ? verdict.value : verdict).toMatchObject({ challengeVerified: true, debug: false });
      const replayed = verify({ tee: endorsements.tee, bytes }, endorsements, {
        nowMs,
        roots,
        challenge: data(2),
      });
      expect(replayed).toMatchObject({ ok: false, refusals: [{ code: "CHALLENGE_MISMATCH" }] });
    });

    test("evidence asked for at the same time does not mix", async () => {
      const { tee, endorsements, roots, nowMs } = await open();
      const fills = [1, 2, 3, 4, 5];
      const pieces = await Promise.all(fills.map((fill) => tee.evidence(data(fill))));
      for (const [i, bytes] of pieces.entries()) {
        const challenge = data(fills[i] as number);
        expect(verify({ tee: endorsements.tee, bytes }, endorsements, { nowMs, roots, challenge }).ok).toBe(
          true,
        );
      }
    });

    test.each([0, 32, 63, 65])("report data of %i bytes is refused", async (length) => {
      const { tee } = await open();
      await expect(tee.evidence(new Uint8Array(length))).rejects.toMatchObject({
        code: "TEE_REPORT_DATA_SIZE",
      });
    });

    test("a sealing key is the same after a restart and differs by context, or is refused by name", async () => {
      const [first, second] = [await open(), await open()];
      const outcome = await first.tee.sealingKey("a").catch((error: unknown) => error);
      if (!(outcome instanceof Uint8Array)) {
        expect(outcome).toMatchObject({ code: "TEE_SEALING_UNSUPPORTED" });
        return;
      }
      expect(outcome).toHaveLength(32);
      expect(await second.tee.sealingKey("a")).toEqual(outcome);
      expect(await second.tee.sealingKey("b")).not.toEqual(outcome);
    });

    test("two runs of the same code have the same measurement", async () => {
      const measurements = await Promise.all(
        [await open(), await open()].map(async ({ tee, endorsements, roots, nowMs }) => {
          const verdict = verify(
            { tee: endorsements.tee, bytes: await tee.evidence(data(9)) },
            endorsements,
            { nowMs, roots },
          );
          return verdict.ok ? verdict.value.measurement : verdict;
        }),
      );
      expect(measurements[0]).toEqual(measurements[1]);
    });
  });
}
