%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(emqx_app).
-behaviour(application).
-export([start/2, prep_stop/1, stop/1, ready/0, get_release/0, get_description/0]).

-ifndef(VSN).
-define(VSN, "0.0.0").
-endif.
-ifndef(DESCRIPTION).
-define(DESCRIPTION, "EMQX Broker").
-endif.

%% The number lives in this one module, as in EMQX: a stale patch of it makes the node report an old version.
get_release() ->
    ?VSN.

get_description() ->
    ?DESCRIPTION.

start(_Type, _Args) ->
    ok = emqx_faults:start(),
    emqx_metrics:start(),
    emqx_sys:started(),
    {ok, Sup} = emqx_sup:start_link(),
    Tls = application:get_env(emqx, tls, []),
    [{ok, _} = esockd:open(Proto, ListenOn,
                           [{acceptors, acceptors(Proto)} | [{tls, Files} || {P, Files} <- Tls, P =:= Proto]],
                           {emqx_connection, start, []})
     || {Proto, ListenOn} <- application:get_env(emqx, listeners, [])],
    {ok, Sup}.

acceptors('mqtt:tcp:external') -> 8;
acceptors(_) -> 4.

prep_stop(State) ->
    [esockd:close(Id) || {Id, _} <- esockd:listeners()],
    emqx_cm:close_all(),
    State.

stop(_State) ->
    ok.

%% Started, listeners included.
ready() ->
    lists:keymember(emqx, 1, application:which_applications()).
