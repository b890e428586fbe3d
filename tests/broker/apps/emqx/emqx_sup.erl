%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(emqx_sup).
-behaviour(supervisor).
-export([start_link/0, init/1]).

start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

init([]) ->
    {ok, {#{strategy => one_for_one, intensity => 10, period => 60},
          [worker(emqx_alarm), worker(emqx_plugins), worker(emqx_broker), worker(emqx_cm)]}}.

worker(Module) ->
    #{id => Module, start => {Module, start_link, []}, shutdown => 5000, modules => [Module]}.
