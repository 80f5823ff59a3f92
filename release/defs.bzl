"""Public rules of release/: unsigned packages and channel files as build actions."""

load("//release/private:channel.bzl", _channel = "channel")
load("//release/private:edge_package.bzl", _edge_package = "edge_package")
load("//release/private:providers.bzl", _ChannelInfo = "ChannelInfo", _EdgePackageInfo = "EdgePackageInfo")

ChannelInfo = _ChannelInfo
EdgePackageInfo = _EdgePackageInfo
channel = _channel
edge_package = _edge_package
