"""Who belongs to whom: the pairs of rows and columns of a matrix that are worth the most."""

from __future__ import annotations

import numpy as np

from runtime.boxes import Numbers


def assign(worth: Numbers) -> list[tuple[int, int]]:
    """Return the pairs of row and column of `worth` (n, m), each in one pair at the most, whose
    sum is the greatest; a worth of 0 is no pair.

    Shortest augmenting paths with potentials (Jonker & Volgenant 1987, Computing 38:325-340).
    """
    rows, columns = np.flatnonzero(worth.any(axis=1)), np.flatnonzero(worth.any(axis=0))
    cost = -worth[np.ix_(rows, columns)]
    turned = cost.shape[0] > cost.shape[1]
    owners = _owners(cost.T if turned else cost)
    pairs = [(owner, column) for column, owner in enumerate(owners) if owner >= 0]
    pairs = [(column, owner) for owner, column in pairs] if turned else pairs
    named = [(int(rows[row]), int(columns[column])) for row, column in pairs]
    return [(row, column) for row, column in named if worth[row, column] > 0]


def _owners(cost: Numbers) -> list[int]:
    """Return the row of each column (-1 for none) at the least cost, all rows having one."""
    count_rows, count_columns = cost.shape
    of_rows, of_columns = np.zeros(count_rows), np.zeros(count_columns)
    owners = np.full(count_columns, -1)
    for row in range(count_rows):
        least, before = np.full(count_columns, np.inf), np.full(count_columns, -1)
        visited, column, current = np.zeros(count_columns, bool), -1, row
        while current >= 0:
            slack = cost[current] - of_rows[current] - of_columns
            shorter = ~visited & (slack < least)
            least[shorter], before[shorter] = slack[shorter], column
            column = int(np.where(visited, np.inf, least).argmin())
            step = least[column]
            of_rows[[row, *owners[visited]]] += step
            of_columns[visited] -= step
            least[~visited] -= step
            visited[column] = True
            current = int(owners[column])
        while column >= 0:
            previous = int(before[column])
            owners[column] = owners[previous] if previous >= 0 else row
            column = previous
    found: list[int] = owners.tolist()
    return found
