"""Environments by name: tabular tasks, gymnax's, and anybody's own by the path of a function."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from seqrl_jax import naming
from seqrl_jax.settings import Count, Discount, Horizon, Number, PositiveFloat
from seqrl_jax.tasks import bandit, battleship, cards, catch, chain, concentration, demand, key_door, minesweeper, tmaze
from seqrl_jax.tasks.contract import broken, code_of_others, table_of
from seqrl_jax.tasks.gymnax_adapter import OfGymnax, from_gymnax
from seqrl_jax.tasks.gymnax_params import DERIVED, with_params
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.registry import COMMON_KEYS, FILE, FORMS, TASKS, make, refuse_other_form
from seqrl_jax.tasks.simulator import tabular_env, tabular_params
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tasks.wrappers.mask import GROUPS
from seqrl_jax.tasks.wrappers.registry import ENVIRONMENT_WRAPPERS, wrapped_environment, wrapper_settings

GYMNAX = "gymnax"
DISCOUNT = 0.99
"""Of environments that have none of their own. They are scored without it."""
PLAIN = (bool, int, float)
MAX_STEPS = "max_steps_in_episode"
WholeNumber = Annotated[int, Meta(ge=0, le=1_000_000)]
"""Of settings of gymnax that may be 0."""
PATH = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)(:(?P<settings>.*))?", re.DOTALL)


ENVIRONMENTS: dict[str, Callable[..., Ready]] = {
    "repeat_first_cards": cards.repeat_first_cards,
    "repeat_previous_cards": cards.repeat_previous_cards,
    "autoencode_cards": cards.autoencode_cards,
    "count_recall_cards": cards.count_recall_cards,
    "memory_chain": chain.memory_chain,
    "long_tmaze": tmaze.long_tmaze,
    "multi_armed_bandit": bandit.multi_armed_bandit,
    "memory_demand": demand.memory_demand,
    "key_to_door": key_door.key_to_door,
    "memory_catch": catch.memory_catch,
    "concentration": concentration.concentration,
    "minesweeper": minesweeper.minesweeper,
    "battleship": battleship.battleship,
}
"""The suite's own environments that are no tables. A new one is one function and one line here."""


def known(spec: str) -> bool:
    """Whether this looks like the name of an environment: a task, or one of the other forms of `environment`."""
    name = naming.base(spec)
    return name in (*TASKS, *ENVIRONMENTS, GYMNAX) or bool(FILE.fullmatch(spec) or PATH.fullmatch(spec))


def environment(spec: str) -> Ready:
    """The environment that `spec` names.

    `NAME[:key=value,...]` of the suite, the path of a `.POMDP` file, `gymnax:NAME[:key=value,...]`, or
    `MODULE:FUNCTION[:key=value,...]`: a function that returns a `Ready`, an environment with its params, or gymnax's.
    All take wrappers beside their own keys, applied in this order: `mask` (the components that are shown: `0+2`, or
    `positions`), `noise=STD`, `sticky=P`, `normalise=STEPS` (in units of what random play shows), `delay=STEPS`,
    `flicker=P`, `frame_stack=K`, `previous_reward=true`, `previous_action=true`; a task takes those of tables (`make`).
    A key of its own goes before one of these with the same name.

    Raises: SpecError for a name that is none, naming the nearest, for a function that returns anything else, and for a
    wrapper that the environment does not allow.
    """
    name = naming.base(spec)
    if name in TASKS or FILE.fullmatch(spec):
        task = make(spec)
        return Ready(tabular_env(task), tabular_params(task))
    if name in ENVIRONMENTS:
        _, settings = naming.parse(spec)
        return _called(spec, ENVIRONMENTS[name], settings)
    path = PATH.fullmatch(spec)
    if name == GYMNAX:
        return _of_gymnax(spec)
    if path:
        settings = {} if path["settings"] is None else naming.read_settings(spec, path["settings"])
        return _called(spec, _imported(spec, path), settings)
    refuse_other_form(spec)
    return naming.lookup("environment", name, {**TASKS, **ENVIRONMENTS, GYMNAX: None})


def modules_of(spec: str) -> list[str]:
    """The modules, by name, whose code makes the environment that `spec` names; none of a table, which is data."""
    name, path = naming.base(spec), PATH.fullmatch(spec)
    if name in TASKS or FILE.fullmatch(spec):
        return []
    wrappers = [from_gymnax.__module__, with_params.__module__] if name == GYMNAX else []
    if re.search(rf"[:,]({'|'.join(ENVIRONMENT_WRAPPERS)})=", spec):
        wrappers.append(wrapped_environment.__module__)
    if name in ENVIRONMENTS:
        return [ENVIRONMENTS[name].__module__, *wrappers]
    return [path["module"], *wrappers] if path and name != GYMNAX else wrappers


def environment_settings(name: str) -> list[naming.Setting]:
    """What can be set of an environment: its own keys and the wrappers. Raises SpecError for an unknown name."""
    return _and_wrappers(naming.describe_settings(naming.lookup("environment", name, ENVIRONMENTS)))


def settings_of(spec: str) -> list[naming.Setting]:
    """What can be set of an environment that is named by `gymnax:NAME` or `MODULE:FUNCTION`. Raises SpecError."""
    if naming.base(spec) == GYMNAX:
        name = spec.partition(":")[2].partition(":")[0]
        shipped = _shipped(name)
        domains = {key: naming.in_words(domain) for key, domain in shipped.domains.items()}
        values = {**shipped.of_env, **shipped.of_params, "discount": DISCOUNT}
        values = {key: value for key, value in values.items() if key not in DERIVED.get(name, {})}
        return _and_wrappers([naming.Setting(key, domains[key], str(value).lower()) for key, value in values.items()])
    path = PATH.fullmatch(spec)
    assert path
    return _and_wrappers(naming.describe_settings(_imported(spec, path)))


def _and_wrappers(own: list[naming.Setting]) -> list[naming.Setting]:
    known = {setting.key for setting in own}
    return [*own, *(setting for setting in wrapper_settings(ENVIRONMENT_WRAPPERS) if setting.key not in known)]


def named_by_origin(spec: str) -> bool:
    """Whether this is `gymnax:NAME` or `MODULE:FUNCTION`, settings or not."""
    if spec.startswith(f"{GYMNAX}:"):
        return True
    return bool(PATH.fullmatch(spec)) and not FILE.fullmatch(spec)


def table(spec: str) -> TabularPOMDP:
    """The task that `spec` names, as `make` has it, or an environment of the suite that is small enough for a table.

    Raises: SpecError also for any other environment.
    """
    name = naming.base(spec)
    others = named_by_origin(spec) and name not in (*TASKS, GYMNAX)
    if (name in ENVIRONMENTS or others) and (ready := environment(spec)).table is not None:
        return replace(naming.made(spec, lambda: table_of(ready)), name=spec)
    if name in (*ENVIRONMENTS, GYMNAX) or (named_by_origin(spec) and name not in TASKS):
        tells = "seqrl list tells of it" if name in ENVIRONMENTS else "nothing is computed of it"
        raise naming.SpecError(f"{naming.shown(spec)} is an environment, and no table that could be solved: {tells}")
    return make(spec)


class _Shipped(NamedTuple):
    """An environment of gymnax with its params as it ships. of_env, of_params: what can be set of its constructor and
    of its params, which are plain values with defaults."""

    env: Any
    params: Any
    of_env: dict[str, Any]
    of_params: dict[str, Any]

    @property
    def domains(self) -> dict[str, Any]:
        plain = {**self.of_env, **self.of_params}
        return {**{key: _domain(key, value) for key, value in plain.items()}, "discount": Discount}


def _shipped(name: str) -> _Shipped:
    """Raises: SpecError for a name that gymnax does not know, with the nearest."""
    import gymnax

    naming.lookup("environment of gymnax", name, dict.fromkeys(gymnax.registered_envs))
    with code_of_others(f"gymnax's {name}"):
        env, params = gymnax.make(name)
    defaults = {key: parameter.default for key, parameter in inspect.signature(type(env)).parameters.items()}
    plain = lambda values: {key: value for key, value in values.items() if type(value) in PLAIN}
    return _Shipped(env, params, plain(defaults), plain(vars(params)))


def _domain(key: str, value: Any) -> Any:
    """What a setting of gymnax may be, which has a default and no domain."""
    if isinstance(value, bool):
        return bool
    if key == MAX_STEPS:
        return Horizon
    if isinstance(value, int):
        return Count if value > 0 else WholeNumber
    return PositiveFloat if value > 0 else Number


def _called(spec: str, function: Callable[..., Any], settings: Mapping[str, str]) -> Ready:
    values, wrappers = _values(spec, settings, naming.settable(function))
    for key, parameter in inspect.signature(function).parameters.items():
        needed = parameter.default is parameter.empty and parameter.kind in (0, 1, 3)
        if needed and key not in values:
            raise naming.SpecError(f"{naming.shown(spec)}: {function.__name__} needs {key!r}, of which nothing is said")

    def build() -> Any:
        with code_of_others(function.__name__):
            return function(**values)

    ready = _ready(spec, naming.made(spec, build))
    return naming.made(spec, lambda: wrapped_environment(ready, wrappers))


def _ready(spec: str, made: Any) -> Ready:
    """Raises: SpecError for what is no environment with its params, or one that breaks its contract."""
    if not isinstance(made, Ready):
        if not isinstance(made, tuple) or len(made) != 2:
            expected = "expected an environment and its params"
            raise naming.SpecError(f"{naming.shown(spec)} made {type(made).__name__}, {expected}")
        env, params = made
        theirs = isinstance(env, OfGymnax) and not isinstance(env, type)
        made = naming.made(spec, lambda: _adapted(env, params)) if theirs else Ready(env, params)

    def wrong() -> str | None:
        with code_of_others("the environment"):
            return broken(made)

    if why := naming.made(spec, wrong):
        raise naming.SpecError(f"{naming.shown(spec)}: {why}")
    return made


def _adapted(env: Any, params: Any, discount: float = DISCOUNT) -> Ready:
    """Raises: SpecError for an environment of gymnax's that ours cannot be made of."""
    with code_of_others("gymnax's environment"):
        return Ready(*from_gymnax(env, params, discount))


def _values(spec: str, settings: Mapping[str, str], own: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of an environment with these keys of its own, and those of its wrappers."""
    domains = {**ENVIRONMENT_WRAPPERS, **own}
    for key in COMMON_KEYS:
        if key in settings and key not in domains:
            raise naming.SpecError(f"{naming.shown(spec)}: {key} needs a task that is a table")
    values = naming.arguments(spec, settings, domains)
    return {key: values[key] for key in values if key in own}, {key: values[key] for key in values if key not in own}


def _imported(spec: str, path: re.Match[str]) -> Callable[..., Any]:
    """The function of a path. Raises: SpecError for a module or a function that is not there, fails or tells nothing of
    its parameters."""
    return naming.made(spec, lambda: _function(path["module"], path["function"]))


def _function(module: str, name: str) -> Callable[..., Any]:
    with code_of_others(f"importing {module}"):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise naming.SpecError(f"there is no module {module}: {FORMS}") from None
        if (function := getattr(found, name, None)) is None or name.startswith("_"):
            public = {key: value for key, value in vars(found).items() if callable(value) and not key.startswith("_")}
            return naming.lookup(f"function of {module}", name, public)
    if not callable(function):
        raise naming.SpecError(f"{name} of {module} is {type(function).__name__}, expected a function")
    with code_of_others(f"reading the parameters of {name}"):
        naming.settable(function)
    return function


def _of_gymnax(spec: str) -> Ready:
    """What can be set: the discount, numbers of the constructor, fields of the params, and wrappers."""
    import gymnax

    name, colon, rest = spec.partition(":")[2].partition(":")
    shipped = _shipped(name)
    settings = naming.read_settings(spec, rest) if colon else {}
    values, wrappers = _values(spec, settings, shipped.domains)
    with code_of_others(f"gymnax's {name}"):
        env, params_of_env = gymnax.make(name, **{key: value for key, value in values.items() if key in shipped.of_env})
    own = {key: value for key, value in values.items() if key in shipped.of_params}
    params = naming.made(spec, lambda: with_params(name, params_of_env, own))
    ready = _ready(spec, naming.made(spec, lambda: _adapted(env, params, values.get("discount", DISCOUNT))))
    if "mask" in wrappers:
        wrappers["mask"] = GROUPS.get(name, {}).get(wrappers["mask"], wrappers["mask"])
    return naming.made(spec, lambda: wrapped_environment(ready, wrappers))
