"""A C++ toolchain that compiles nothing."""

_TOOLS = ["ar", "cpp", "gcc", "gcov", "ld", "nm", "objdump", "strip"]

def _no_cc_toolchain_config_impl(ctx):
    # Bazel 8 still has it; its rule set is no part of WORKSPACE.
    # buildifier: disable=native-cc-common
    return cc_common.create_cc_toolchain_config_info(
        ctx = ctx,
        abi_libc_version = "none",
        abi_version = "none",
        compiler = "none",
        host_system_name = "local",
        target_cpu = "none",
        target_libc = "none",
        target_system_name = "local",
        tool_paths = [
            struct(name = tool, path = "/bin/false", type_name = "tool_path")
            for tool in _TOOLS
        ],
        toolchain_identifier = "no_cc",
    )

no_cc_toolchain_config = rule(
    implementation = _no_cc_toolchain_config_impl,
    doc = "Configures a C++ toolchain in which every tool fails when called.",
    provides = [CcToolchainConfigInfo],
)
