"""Workflow: does a target reproduce the golden set of a bundle?"""

from __future__ import annotations

from contextlib import closing

from device_profiles.errors import EngineError, RequestError
from edge_sdk.report import Report, Table
from edge_sdk.targets import open_target
from edge_sdk.targets._crew import Crew
from edge_sdk.workflows.check_options import CheckOptions
from edge_sdk.workflows.proof import Proof, notes_of, prove, rungs_of
from runtime.bundle import Bundle


def check_golden(bundle: Bundle, uri: str, options: CheckOptions) -> Report:
    """Replay the golden set on the target at `uri`; every rung that was tried is a gate.

    Raises RequestError where a budget is to be kept, which golden frames cannot measure, and
    EngineError where no rung can be tried there.
    """
    if options.max_drop is not None or options.reference is not None:
        raise RequestError("a budget or a reference needs images to compare on; give --data DATA")
    with closing(open_target(uri)) as target, Crew(target) as crew:
        about = crew.submit(lambda member: member.about()).result()
        proofs = prove(bundle, crew, rungs_of(bundle, options.precisions))
        notes = notes_of(bundle, target)
        facts = {"uri": uri, "emulated": target.emulated, "about": about}
    gates = tuple(proof.gate for proof in proofs if proof.gate)
    if not gates:
        reasons = "; ".join(f"{proof.label}: {proof.absent}" for proof in proofs)
        raise EngineError(f"{bundle.path}: nothing of it can be tried on {uri}: {reasons}")
    count = bundle.manifest.golden.count
    passed = sum(gate.passed for gate in gates)
    return Report(
        title=f"{bundle.manifest.name} on {uri}",
        summary=f"{passed} of {len(gates)} artifacts reproduce {count} golden frames on {uri}.",
        tables=(
            Table(
                "Golden set",
                ("artifact", "largest error", "allowed", "rms", "allowed rms", ""),
                tuple(row for proof in proofs for row in _rows(proof)),
                "of every output, against what the artifact answered when it was made",
            ),
        ),
        charts=(),
        gates=gates,
        facts={
            "bundle": {"id": bundle.id, "name": bundle.manifest.name},
            "profile": bundle.manifest.profile["name"],
            "target": facts,
            "golden": [
                {
                    "rung": proof.rung,
                    "label": proof.label,
                    "replay": proof.replay.to_json() if proof.replay else None,
                    "fault": proof.fault or None,
                    "absent": proof.absent or None,
                }
                for proof in proofs
            ],
        },
        notes=notes,
    )


def _rows(proof: Proof) -> list[tuple[str, ...]]:
    if proof.replay is None or not proof.replay.differences:
        why = proof.absent or proof.fault or (proof.replay.reason if proof.replay else "")
        return [(proof.label, "-", "-", "-", "-", why)]
    return [
        (
            proof.label,
            f"{d.worst:.3g}",
            f"{d.tolerance.absolute:.3g}",
            f"{d.rms:.3g}",
            f"{d.tolerance.rms:.3g}",
            d.tolerance.output,
        )
        for d in proof.replay.differences
    ]
