"""Find plugins by their entry points, and import the ones that are asked for."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING

import attrs
import pluggy

from forge.core.errors import PluginError
from forge.core.suggest import did_you_mean
from forge.plugin import hookspecs
from forge.plugin.bytecode import distrust_bytecode
from forge.plugin.entry_points import entry_points
from forge.plugin.registry import Register, StepType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Any

    from forge.plugin.context import Artifact, Run
    from forge.plugin.protocols import Chat, Evaluation

GROUP = "forge"


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("forge")
    manager.add_hookspecs(hookspecs)
    return manager


def installed() -> dict[str, str]:
    """Return the module of every installed plugin by the name of its entry point; nothing is imported.

    Several entry points may serve one namespace: `check` and `check.table` both add step types to `check`.
    """
    found: dict[str, str] = {}
    for name, declared in entry_points(GROUP):
        value = declared.partition("[")[0].strip()  # extras that an entry point asks for are no part of its module
        if found.setdefault(name, value) != value:
            raise PluginError(
                f"two distributions offer a plugin called `{name}`: `{found[name]}` and `{value}`",
                hint="uninstall one of them",
            )
    return found


@attrs.define
class Registry:
    """Answer for step types by name; a plugin is imported when one of its types is asked for.

    ``loaded`` holds what was registered for each namespace so far, ``done`` the entry points that were imported.
    """

    modules: Mapping[str, str] = attrs.Factory(installed)
    manager: pluggy.PluginManager = attrs.Factory(_manager)
    loaded: dict[str, Register] = attrs.Factory(dict)
    done: set[str] = attrs.Factory(set)

    @property
    def packages(self) -> frozenset[str]:
        """Return the top-level packages that plugins live in: what fingerprints of code look into."""
        return frozenset(module.partition(".")[0] for module in self.modules.values())

    @property
    def namespaces(self) -> frozenset[str]:
        """Return the names before the dot in what manifests use."""
        return frozenset(name.partition(".")[0] for name in self.modules)

    def entries(self, namespace: str) -> dict[str, str]:
        """Return the modules that serve *namespace* by the names of their entry points."""
        found = {name: module for name, module in sorted(self.modules.items()) if name.partition(".")[0] == namespace}
        if not found:
            hint = did_you_mean(namespace, self.namespaces)
            raise PluginError(f"no plugin called `{namespace}` is installed", hint=hint)
        return found

    def plugin(self, namespace: str) -> Register:
        """Import all that serves one namespace and return what it registers."""
        for name, module in self.entries(namespace).items():
            self._load(name, module, namespace)
        return self.loaded[namespace]

    def _load(self, entry: str, path: str, namespace: str) -> None:
        if entry in self.done:
            return
        if ":" in path:
            hint = "name the module alone, and mark its functions with `@forge.hookimpl`"
            raise PluginError(f"plugin `{entry}` names `{path}`, which is no module", hint=hint)
        register = self.loaded.setdefault(namespace, Register(namespace))
        try:
            with redirect_stdout(sys.stderr):  # results alone go to standard output
                distrust_bytecode(self.packages)
                module = import_module(path)
            name = self.manager.register(module, name=entry)
            hooks = self.manager.subset_hook_caller(
                "forge_register", [p for n, p in self.manager.list_name_plugin() if n != name]
            )
            hooks(register=register)
        except PluginError as error:
            raise PluginError(f"plugin `{entry}` breaks its contract: {error.message}", hint=error.hint) from error
        except Exception as error:
            raise PluginError(f"plugin `{entry}` (`{path}`) can't be loaded: {error!r}") from error
        self.done.add(entry)

    def find(self, use: str) -> StepType:
        """Return the step type that ``plugin.step-type`` names.

        Of the package that offers it no more is imported than it takes; others that serve the same namespace are, for
        they may offer one of the same name.
        """
        namespace, _, name = use.partition(".")
        home = ""
        for entry, module in self.entries(namespace).items():
            if not home or home != module.partition(".")[0]:
                self._load(entry, module, namespace)
            if not home and name in self.loaded[namespace].types:
                home = module.partition(".")[0]
        if home:
            return self.loaded[namespace].types[name]
        types = self.plugin(namespace).types
        if name not in types:
            raise PluginError(f"plugin `{namespace}` has no step type `{name}`", hint=did_you_mean(name, types))
        return types[name]

    def chat(
        self, path: Path, system: str | None, inputs: Mapping[str, Path] | None = None, temperature: float = 0.0
    ) -> Chat | None:
        """Open the model at *path* with the first plugin that can; every installed plugin is asked."""
        for namespace in sorted(self.namespaces):
            self.plugin(namespace)
        found: Chat | None = self.manager.hook.forge_chat(
            path=path, system=system, inputs=inputs or {}, temperature=temperature
        )
        return found

    def metrics(self, names: Iterable[str], step: str, folder: Path, point: Mapping[str, float]) -> None:
        """Hand a point of a curve to the plugins that *names* names."""
        plugins = [self.manager.get_plugin(e) for name in names if self.plugin(name) for e in self.entries(name)]
        others = [plugin for plugin in self.manager.get_plugins() if plugin not in plugins]
        self.manager.subset_hook_caller("forge_metrics", others)(step=step, folder=folder, point=point)

    def evaluate(
        self, model: Artifact, inputs: Mapping[str, Artifact], data: Artifact, how: Evaluation, run: Run
    ) -> Mapping[str, Any] | None:
        """Score *model* with the first plugin that can; every installed plugin is asked."""
        for namespace in sorted(self.namespaces):
            self.plugin(namespace)
        found: Mapping[str, Any] | None = self.manager.hook.forge_eval(
            model=model, inputs=inputs, data=data, how=how, run=run
        )
        return found

    def all(self) -> dict[str, StepType]:
        """Import every installed plugin and return all step types by the names manifests use."""
        return {t.use: t for namespace in sorted(self.namespaces) for t in self.plugin(namespace).types.values()}
