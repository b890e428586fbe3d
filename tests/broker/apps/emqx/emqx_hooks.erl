%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% Does nothing but be another module that a patch may replace.
-module(emqx_hooks).
-export([version/0]).

-ifndef(VSN).
-define(VSN, "0.0.0").
-endif.

version() ->
    ?VSN.
