import jax
import jax.numpy as jnp
import pytest

from seqrl_jax.throughput.ceilings import ceilings
from seqrl_jax.throughput.measure import Program, measure
from seqrl_jax.throughput.work import Work, least_seconds, work_of


def asked(run, *arguments):
    return work_of(jax.make_jaxpr(run)(*arguments))


def test_products_count_twice_what_they_multiply():
    a, b = jnp.ones((4, 3, 5)), jnp.ones((4, 5, 7))
    assert asked(jnp.matmul, a, b).products == 2 * 4 * 3 * 5 * 7
    image, kernel = jnp.ones((2, 3, 8, 8)), jnp.ones((6, 3, 3, 3))
    run = lambda image, kernel: jax.lax.conv(image, kernel, (1, 1), "SAME")
    assert asked(run, image, kernel).products == 2 * (2 * 6 * 8 * 8) * 3 * 3 * 3


def test_a_gradient_takes_three_products_where_a_value_takes_one():
    x, w = jnp.ones((8, 16)), jnp.ones((16, 16))
    loss = lambda w, x: jnp.sum(jnp.square(x @ w))
    assert asked(jax.grad(loss, argnums=(0, 1)), w, x).products == 3 * asked(loss, w, x).products


def test_loops_count_as_often_as_they_run_and_move_what_they_read_and_write():
    def run(xs):
        def outer(carry, x):
            carry = jax.lax.fori_loop(0, 7, lambda _, carry: jnp.tanh(carry), carry)
            return carry, x + carry

        return jax.lax.scan(outer, jnp.zeros(4), xs)

    work = asked(run, jnp.ones((3, 4)))
    assert work.transcendental == 3 * 7 * 4
    # Nothing beyond what the program is given and gives, the carry among it.
    assert work.moved == 2 * 3 * 4 * 4 + 4 * 4
    # One addition a number; nobody reads the count of the inner loop.
    assert work.arithmetic == 3 * 4


def test_what_nobody_reads_does_not_count():
    def run(x):
        jnp.exp(x)
        return jax.lax.scan(lambda carry, _: (carry, jnp.tanh(carry)), x, length=5)[0]

    assert asked(run, jnp.ones(4)).transcendental == 0


def test_a_number_or_a_key_takes_a_hash():
    def run(key):
        first, second = jax.random.split(key)
        return jax.random.bits(first, (10,)), jax.random.bits(jax.random.fold_in(second, 1), (3,), jnp.uint16)

    assert asked(run, jax.random.key(0)).random == 2 + 10 + 1 + 3


def test_of_a_branch_the_least_counts_and_inner_functions_are_looked_into():
    run = lambda flag, x: jax.lax.cond(flag, lambda x: x @ x, lambda x: jnp.exp(x) @ x @ x, x)
    work = asked(jax.jit(run), True, jnp.ones((4, 4)))
    assert work.products == 2 * 4**3 and work.transcendental == 0
    # A rule of one's own for a derivative, and a batch.
    assert asked(jax.vmap(jax.nn.relu), jnp.ones((5, 6))).arithmetic >= 30
    assert asked(jax.vmap(jax.checkpoint(jnp.sin)), jnp.ones((5, 6))).transcendental == 30


def test_the_slowest_kind_of_work_bounds_and_amounts_add_up():
    work = Work(products=6, random=4) + Work(products=4) * 2
    assert work == Work(products=14, random=4)
    roof = Work(products=7, arithmetic=1, transcendental=1, random=1, moved=1)
    assert least_seconds(work, roof) == (4, "random")
    assert least_seconds(Work(products=70, random=4), roof) == (10, "products")


def test_a_program_stays_under_the_roof_and_a_product_comes_near_it():
    roof = ceilings()
    assert all(amount > 0 for amount in roof.amounts) and ceilings() is roof
    side = 512
    multiply = jax.jit(lambda a, key: a @ a)
    row = measure({"product": Program(multiply, 1, 1, arguments=(jnp.ones((side, side)),))}, repeats=3)[0]
    assert row.work.products == 2 * side**3 and row.bound == "products"
    # What fits into a cache moves nothing. The margin is that of a busy machine.
    assert row.work.moved == 0 and 0 < row.share < 3
    assert row.share == pytest.approx(row.work.products / row.ceilings.products / sorted(row.seconds)[1])
