"""Find plugins by their entry points, and import the ones that are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import attrs
import pluggy

from forge.core.errors import PluginError
from forge.core.suggest import did_you_mean
from forge.plugin import hookspecs
from forge.plugin.registry import Register, StepType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forge.plugin.protocols import Chat

GROUP = "forge"


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("forge")
    manager.add_hookspecs(hookspecs)
    return manager


def installed() -> dict[str, str]:
    """Return the module of every installed plugin by its name; nothing is imported."""
    from importlib.metadata import entry_points  # slow to import, and a worker is told what there is

    found: dict[str, str] = {}
    for entry in entry_points(group=GROUP):
        if found.setdefault(entry.name, entry.value) != entry.value:
            raise PluginError(
                f"two distributions offer a plugin called `{entry.name}`: `{found[entry.name]}` and `{entry.value}`",
                hint="uninstall one of them",
            )
    return found


@attrs.define
class Registry:
    """Answer for step types by name; a plugin is imported when one of its types is asked for."""

    modules: Mapping[str, str] = attrs.Factory(installed)
    manager: pluggy.PluginManager = attrs.Factory(_manager)
    loaded: dict[str, Register] = attrs.Factory(dict)

    @property
    def packages(self) -> frozenset[str]:
        """Return the top-level packages that plugins live in: what fingerprints of code look into."""
        return frozenset(module.partition(".")[0] for module in self.modules.values())

    def plugin(self, namespace: str) -> Register:
        """Import one plugin and return what it registers."""
        if namespace in self.loaded:
            return self.loaded[namespace]
        if namespace not in self.modules:
            hint = did_you_mean(namespace, self.modules)
            raise PluginError(f"no plugin called `{namespace}` is installed", hint=hint)
        try:
            module = import_module(self.modules[namespace])
            name = self.manager.register(module, name=namespace)
            hooks = self.manager.subset_hook_caller(
                "forge_register", [p for n, p in self.manager.list_name_plugin() if n != name]
            )
            register = Register(namespace)
            hooks(register=register)
        except PluginError as error:
            raise PluginError(f"plugin `{namespace}` breaks its contract: {error.message}", hint=error.hint) from error
        except Exception as error:
            raise PluginError(
                f"plugin `{namespace}` (`{self.modules[namespace]}`) can't be loaded: {error!r}"
            ) from error
        self.loaded[namespace] = register
        return register

    def find(self, use: str) -> StepType:
        """Return the step type that ``plugin.step-type`` names."""
        namespace, _, name = use.partition(".")
        if namespace not in self.modules:
            hint = did_you_mean(namespace, self.modules)
            raise PluginError(f"no plugin called `{namespace}` is installed", hint=hint)
        types = self.plugin(namespace).types
        if name not in types:
            raise PluginError(f"plugin `{namespace}` has no step type `{name}`", hint=did_you_mean(name, types))
        return types[name]

    def chat(self, path: Path, system: str | None) -> Chat | None:
        """Open the model at *path* with the first plugin that can; every installed plugin is asked."""
        for namespace in sorted(self.modules):
            self.plugin(namespace)
        found: Chat | None = self.manager.hook.forge_chat(path=path, system=system)
        return found

    def all(self) -> dict[str, StepType]:
        """Import every installed plugin and return all step types by the names manifests use."""
        return {t.use: t for namespace in sorted(self.modules) for t in self.plugin(namespace).types.values()}
