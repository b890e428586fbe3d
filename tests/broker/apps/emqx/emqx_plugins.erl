%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% The plugins are names only: which of them are active is what an upgrade must keep.
-module(emqx_plugins).
-behaviour(gen_server).
-export([start_link/0, list/0, load/1, unload/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-record(plugin, {name, descr = "", active = false, info = #{}}).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

list() ->
    gen_server:call(?MODULE, list, infinity).

load(Name) ->
    gen_server:call(?MODULE, {set, Name, true}, infinity).

unload(Name) ->
    gen_server:call(?MODULE, {set, Name, false}, infinity).

init([]) ->
    Active = case file:consult(file()) of
                 {ok, Names} -> Names;
                 _ -> [emqx_dashboard, emqx_management, emqx_recon, emqx_retainer, emqx_rule_engine, emqx_telemetry]
             end,
    {ok, Active}.

handle_call(list, _From, Active) ->
    {reply, [#plugin{name = Name, descr = Descr, active = lists:member(Name, Active)} || {Name, Descr} <- known()], Active};
handle_call({set, Name, On}, _From, Active) ->
    case {lists:keymember(Name, 1, known()), lists:member(Name, Active)} of
        {false, _} -> {reply, {error, not_found}, Active};
        {true, On} when On -> {reply, {error, already_started}, Active};
        {true, On} -> {reply, {error, not_started}, Active};
        {true, false} -> save([Name | Active]);
        {true, true} -> save(Active -- [Name])
    end.

handle_cast(_Message, State) ->
    {noreply, State}.

save(Active) ->
    ok = filelib:ensure_dir(file()),
    _ = file:write_file(file(), [io_lib:format("~p.~n", [Name]) || Name <- lists:sort(Active)]),
    {reply, ok, Active}.

file() ->
    filename:join([code:root_dir(), application:get_env(emqx, data_dir, "data"), "loaded_plugins"]).

known() ->
    [{emqx_auth_http, "EMQX Authentication/ACL with HTTP API"},
     {emqx_auth_mnesia, "EMQX Authentication with Mnesia"},
     {emqx_bridge_mqtt, "EMQX Bridge to MQTT Broker"},
     {emqx_dashboard, "EMQX Web Dashboard"},
     {emqx_management, "EMQX Management API and CLI"},
     {emqx_psk_file, "EMQX PSK Plugin from File"},
     {emqx_recon, "EMQX Recon Plugin"},
     {emqx_retainer, "EMQX Retainer"},
     {emqx_rule_engine, "EMQX Rule Engine"},
     {emqx_sasl, "EMQX SASL"},
     {emqx_sn, "EMQX MQTT-SN Plugin"},
     {emqx_stomp, "EMQX Stomp Protocol Plugin"},
     {emqx_telemetry, "EMQX Telemetry"},
     {emqx_web_hook, "EMQX WebHook Plugin"}].
