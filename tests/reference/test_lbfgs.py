import torch

from headstart.engine.solvers.lbfgs import minimise
from headstart.seeding import generator


def rosenbrocks(scales):
    def objective(x, which):
        s = scales[which]
        a, b = x[:, 0], x[:, 1]
        value = (1 - a) ** 2 + s * (b - a**2) ** 2
        gradient = torch.stack((-2 * (1 - a) - 4 * s * a * (b - a**2), 2 * s * (b - a**2)), 1)
        return value, gradient

    return objective


def test_curved_valleys_in_lockstep_are_those_alone():
    scales = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    start = torch.tensor([[-1.2, 1.0]], dtype=torch.float64).repeat(4, 1)
    together = minimise(rosenbrocks(scales), start, tolerance=1e-8)
    assert together.converged.all()
    assert torch.allclose(together.x, torch.ones(4, 2, dtype=torch.float64), atol=1e-6)
    for p in range(4):
        alone = minimise(rosenbrocks(scales[p : p + 1]), start[:1], tolerance=1e-8)
        assert torch.allclose(alone.x[0], together.x[p], atol=1e-9)
        assert alone.iterations[0] == together.iterations[p]


def test_quadratics_have_closed_forms_and_start_is_left_alone():
    rng = generator(0, "quadratic")
    root = torch.from_numpy(rng.standard_normal((3, 6, 6)))
    matrix, target = root @ root.transpose(1, 2) + 0.1 * torch.eye(6), torch.from_numpy(rng.standard_normal((3, 6)))

    def objective(x, which):
        product = (matrix[which] @ x.unsqueeze(2)).squeeze(2)
        return 0.5 * (x * product).sum(1) - (target[which] * x).sum(1), product - target[which]

    start = torch.zeros(3, 6, dtype=torch.float64)
    found = minimise(objective, start, tolerance=1e-9)
    torch.testing.assert_close(found.x, torch.linalg.solve(matrix, target), atol=1e-7, rtol=0)
    assert (start == 0).all()
    assert (found.gradient <= 1e-9).all()


def test_stops_where_it_starts_when_that_is_the_minimum_and_when_told_to():
    scales = torch.tensor([1.0, 1000.0], dtype=torch.float64)
    start = torch.tensor([[1.0, 1.0], [-1.2, 1.0]], dtype=torch.float64)
    found = minimise(rosenbrocks(scales), start, tolerance=1e-8, max_iterations=3)
    assert found.converged.tolist() == [True, False]
    assert found.iterations.tolist() == [0, 3]
    assert torch.equal(found.x[0], start[0])
    assert found.value[1] < rosenbrocks(scales)(start, torch.arange(2))[0][1]


def test_short_floats_end_at_their_rounding():
    scales = torch.tensor([100.0])
    found = minimise(rosenbrocks(scales), torch.tensor([[-1.2, 1.0]]), tolerance=1e-12)
    assert torch.allclose(found.x, torch.ones(1, 2), atol=2e-3)
