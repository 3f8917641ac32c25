"""Our environments as gymnasium's, one and many (`pip install "seqrl_jax[gymnasium]"`).

Importing this module registers all environments of the suite: `gymnasium.make("seqrl/tmaze-v0", length=10)`, and
`gymnasium.make_vec` with `num_envs`. One step is one compiled call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import index
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.settings import is_count
from seqrl_jax.tasks.contract import lacking
from seqrl_jax.tasks.environment import Discrete, Environment, Space
from seqrl_jax.tasks.environments import ENVIRONMENTS, environment
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.registry import TASKS

try:
    import gymnasium
except ModuleNotFoundError as error:
    raise ImportError(f'{error}; to adapt to gymnasium: pip install "seqrl_jax[gymnasium]"') from error


class _Stepped:
    """What one and many share: everything that a pickle holds is plain, and what is compiled is made again from it."""

    env: Environment
    params: Any

    def _compile(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_begin", "_go_on")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin, self._go_on = self._compile()


class ToGymnasium(_Stepped, gymnasium.Env[Any, Any]):
    """One environment. A seed of any size gives a stream of its own."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # as gymnasium declares it

    def __init__(self, env: Environment, params: Any) -> None:
        _refuse_others(env)
        self.env, self.params = env, params
        self.action_space = _gymnasium_space(env.action_space, 1.0)
        self.observation_space = _gymnasium_space(env.observation_space, np.inf)
        self._key: np.ndarray | None = None
        self._state: Any = None
        self._begin, self._go_on = self._compile()

    def _compile(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        return jax.jit(lambda key: _begin(self.env, self.params, key)), jax.jit(
            lambda key, state, action: _step(self.env, self.params, key, state, action)
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; of the stream so far, unless there is a seed. Raises: gymnasium's Error for no seed."""
        super().reset(seed=_seed(seed))
        if seed is not None or self._key is None:
            self._key = _stream(self.np_random)
        obs, self._state, self._key = self._begin(self._key)
        return self._seen(obs), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises: ResetNeeded before an episode and behind one, InvalidAction."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step(): no episode is going on")
        chosen = _taken(action, self.action_space)
        if chosen is None:
            raise gymnasium.error.InvalidAction(f"{action!r} is not in {self.action_space}")
        after, self._key = self._go_on(self._key, self._state, chosen)
        self._state = None if after.terminated | after.truncated else after.state
        ends = bool(after.terminated), bool(after.truncated)
        return self._seen(after.obs), float(after.reward), *ends, {}

    def _seen(self, obs: Array) -> Any:
        return np.asarray(obs).astype(self.observation_space.dtype)[()]


class ToGymnasiumVector(_Stepped, gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Many environments in one compiled call, with gymnasium's default automatic reset (next step).

    The step that ends an episode returns its last observation. The step after it ignores the action, pays 0, ends
    nothing and returns the first observation of the next episode. gymnasium's own statistics lose each later episode's
    first step under another mode, and most of its observation wrappers refuse one. Environment i of seed s is the
    single environment of seed s + i.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": [],
        "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP,
    }

    def __init__(self, env: Environment, params: Any, num_envs: int) -> None:
        _refuse_others(env)
        if not is_count(num_envs):
            raise ValueError(f"{num_envs!r} environments, expected a whole number of 1 or more")
        self.env, self.params, self.num_envs = env, params, int(num_envs)
        self.single_action_space = _gymnasium_space(env.action_space, 1.0)
        self.single_observation_space = _gymnasium_space(env.observation_space, np.inf)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self._key: np.ndarray | None = None
        self._obs: Any = None
        self._state: Any = None
        self._ended = np.zeros(num_envs, bool)
        self._begin, self._go_on = self._compile()

    def _compile(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def begin(key: Array, obs: Array, state: Any, mask: Array) -> Any:
            """New episodes where the mask is true."""
            fresh = jax.vmap(lambda key: _begin(self.env, self.params, key))(key)
            return _chosen(mask, fresh, (obs, state, key))

        def one_step(key: Array, state: Any, action: Array) -> tuple[Any, ...]:
            after, following = _step(self.env, self.params, key, state, action)
            return after.obs, after.state, following, after.reward, after.terminated, after.truncated

        def one_step_or_beginning(key: Array, state: Any, action: Array, ended: Array) -> tuple[Any, ...]:
            *on, reward, terminated, truncated = one_step(key, state, action)
            now = _chosen(ended, _begin(self.env, self.params, key), tuple(on))
            return *now, jnp.where(ended, 0.0, reward), terminated & ~ended, truncated & ~ended

        step, step_or_begin = (jax.jit(jax.vmap(each)) for each in (one_step, one_step_or_beginning))

        def go_on(key: Array, state: Any, action: Array, ended: np.ndarray) -> Any:
            # The second begins an episode in every environment, where that is needed and where it is not.
            return step_or_begin(key, state, action, ended) if ended.any() else step(key, state, action)

        return jax.jit(begin), go_on

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes anew: all, or those of `options["reset_mask"]` [num_envs] bool.

        Args: seed: of the first environment, those of the others counting up, or one for each; None goes on.
        Raises: ValueError for a list or a mask of another length; gymnasium's Error for no seed.
        """
        given: Any = seed
        super().reset(seed=None if np.ndim(given) else _seed(given))
        mask = self._mask((options or {}).get("reset_mask"))
        seeds = self._seeds(given)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        if self._key is None:
            self._key = np.stack([_stream(_generator(None)) for _ in range(self.num_envs)])
        keys = np.array(self._key)
        for number, one in enumerate(seeds):
            if one is not None and mask[number]:
                keys[number] = _stream(_generator(one))
        if self._state is None:
            mask = np.ones(self.num_envs, bool)
            self._obs, self._state, _ = jax.vmap(lambda key: _begin(self.env, self.params, key))(keys)
        self._obs, self._state, self._key = self._begin(keys, self._obs, self._state, mask)
        self._ended = self._ended & ~mask
        return self._seen(self._obs), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Raises: ResetNeeded before the first episodes, InvalidAction for actions of another shape or value."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before the first step()")
        chosen = _taken(actions, self.action_space)
        if chosen is None:
            shape = np.shape(actions)
            raise gymnasium.error.InvalidAction(f"actions of shape {shape} are not all in {self.action_space}")
        made = self._go_on(self._key, self._state, chosen, self._ended)
        self._obs, self._state, self._key, reward, *ends = made
        terminated, truncated = (np.array(end) for end in ends)
        self._ended = terminated | truncated
        return self._seen(self._obs), np.asarray(reward, np.float64), terminated, truncated, {}

    def _seeds(self, seed: Any) -> list[int | None]:
        """One for each environment, None where its stream goes on."""
        if np.ndim(seed):
            return [_seed(one) for one in seed]
        return [None if seed is None else _seed(seed) + i for i in range(self.num_envs)]

    def _mask(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"reset_mask is no array of {self.num_envs} bools of which one is true")
        return mask

    def _seen(self, obs: Array) -> np.ndarray:
        return np.array(obs).astype(self.observation_space.dtype)


def to_gymnasium(env: Environment, params: Any) -> ToGymnasium:
    """An environment behind gymnasium's interface. Raises: TypeError for what is none."""
    return ToGymnasium(env, params)


def to_gymnasium_vector(env: Environment, params: Any, num_envs: int) -> ToGymnasiumVector:
    """`num_envs` copies of an environment behind gymnasium's vector interface.

    Raises: TypeError for what is none, ValueError for fewer than one.
    """
    return ToGymnasiumVector(env, params, num_envs)


def _refuse_others(env: Any) -> None:
    if why := lacking(env):
        raise TypeError(why)


def _begin(env: Environment, params: Any, key: Array) -> tuple[Array, Any, Array]:
    """An observation, a state and the key [2] that goes on."""
    now, following = jax.random.split(_wrapped(key))
    obs, state = env.reset(now, params)
    return obs, state, jax.random.key_data(following)


def _step(env: Environment, params: Any, key: Array, state: Any, action: Array) -> tuple[Any, Array]:
    now, following = jax.random.split(_wrapped(key))
    return env.step(now, state, action, params), jax.random.key_data(following)


def _chosen(mask: Array, new: Any, old: Any) -> Any:
    def pick(new: Any, old: Any) -> Array:
        # gymnax's states hold Python's numbers.
        return jnp.where(mask.reshape(mask.shape + (1,) * (jnp.ndim(new) - mask.ndim)), new, old)

    return jax.tree.map(pick, new, old)


def _wrapped(key: Array) -> Array:
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(jnp.asarray(key))


def _seed(seed: Any) -> Any:
    """A whole number of any kind as Python's, which gymnasium wants. Raises: its Error for a truth value."""
    if isinstance(seed, bool | np.bool_):
        raise gymnasium.error.Error(f"the seed is {seed}, expected a whole number of 0 or more")
    return index(seed) if isinstance(seed, SupportsIndex) else seed


def _generator(seed: int | None) -> np.random.Generator:
    return gymnasium.utils.seeding.np_random(seed)[0]


def _stream(generator: np.random.Generator) -> np.ndarray:
    """[2] uint32: the key of a stream of its own."""
    return generator.integers(2**32, size=2, dtype=np.uint32)


def _gymnasium_space(space: Space, end: float) -> Any:
    if isinstance(space, Discrete):
        return gymnasium.spaces.Discrete(space.size)
    return gymnasium.spaces.Box(-end, end, space.shape, np.float32)


def _taken(action: Any, space: Any) -> np.ndarray | None:
    """Actions as environments take them; None for what is none. Numbers beyond an end count as the end, as they do in
    gymnasium's own environments: the law of a policy knows no ends."""
    chosen = np.asarray(action)
    if chosen.dtype.kind == "b":
        return None
    if not np.can_cast(chosen.dtype, space.dtype, "same_kind") or chosen.shape != space.shape:
        return None
    if isinstance(space, gymnasium.spaces.Box):
        taken = np.clip(chosen, space.low, space.high).astype(np.float32)
        return taken if np.isfinite(chosen).all() else None
    taken = chosen.astype(space.dtype)
    return taken.astype(np.int32) if space.contains(taken if chosen.ndim else taken[()]) else None


def _spec(name: str, settings: dict[str, Any]) -> str:
    text = lambda value: str(value).lower() if isinstance(value, bool | np.bool_ | None) else str(value)
    written = ",".join(f"{key}={text(value)}" for key, value in settings.items())
    return f"{name}:{written}" if settings else name


NAMESPACE = "seqrl"
NAME = "name of the environment"
"""Where gymnasium's registry holds it: among the settings, as no setting that anybody could give is called."""


def made(**settings: Any) -> ToGymnasium:
    """What `gymnasium.make("seqrl/NAME-v0", key=value)` makes. Raises: SpecError for settings that it does not have."""
    ready = _ready(settings)
    return ToGymnasium(ready.env, ready.params)


def made_vector(num_envs: int = 1, **settings: Any) -> ToGymnasiumVector:
    """What `gymnasium.make_vec` makes."""
    ready = _ready(settings)
    return ToGymnasiumVector(ready.env, ready.params, num_envs)


def spec_of(settings: Mapping[str, Any]) -> str:
    """What names the environment here that gymnasium makes with these settings, among them that of `NAME`."""
    own = {key: value for key, value in settings.items() if key not in (NAME, "render_mode")}
    return _spec(settings[NAME], own)


def _ready(settings: dict[str, Any]) -> Ready:
    return environment(spec_of(settings))


for _name in (*TASKS, *ENVIRONMENTS):
    gymnasium.register(
        id=f"{NAMESPACE}/{_name}-v0",
        entry_point=f"{__name__}:made",
        vector_entry_point=f"{__name__}:made_vector",
        kwargs={NAME: _name},
    )
