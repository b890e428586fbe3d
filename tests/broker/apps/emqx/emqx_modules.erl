%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% The modules are names only, as the plugins are.
-module(emqx_modules).
-export([list/0]).

list() ->
    [{emqx_mod_acl_internal, true}, {emqx_mod_delayed, false}, {emqx_mod_presence, true}].
