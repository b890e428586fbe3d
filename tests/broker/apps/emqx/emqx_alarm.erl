%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(emqx_alarm).
-behaviour(gen_server).
-export([start_link/0, activate/1, activate/2, deactivate/1, get_alarms/0, get_alarms/1]).
-export([init/1, handle_call/3, handle_cast/2]).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

activate(Name) ->
    activate(Name, #{}).

activate(Name, Details) ->
    gen_server:call(?MODULE, {activate, Name, Details}, infinity).

deactivate(Name) ->
    gen_server:call(?MODULE, {deactivate, Name}, infinity).

get_alarms() ->
    get_alarms(all).

get_alarms(Which) ->
    gen_server:call(?MODULE, {get, Which}, infinity).

init([]) ->
    {ok, #{activated => [], deactivated => []}}.

handle_call({activate, Name, Details}, _From, State = #{activated := Active}) ->
    case find(Name, Active) of
        {ok, _} ->
            {reply, {error, already_existed}, State};
        error ->
            Alarm = #{name => Name, details => Details, message => text(Name), activated => true,
                      activate_at => erlang:system_time(microsecond), deactivate_at => infinity},
            {reply, ok, State#{activated := [Alarm | Active]}}
    end;
handle_call({deactivate, Name}, _From, State = #{activated := Active, deactivated := Past}) ->
    case find(Name, Active) of
        {ok, Alarm} ->
            Ended = Alarm#{activated := false, deactivate_at := erlang:system_time(microsecond)},
            {reply, ok, State#{activated := Active -- [Alarm], deactivated := [Ended | Past]}};
        error ->
            {reply, {error, not_found}, State}
    end;
handle_call({get, all}, _From, State = #{activated := Active, deactivated := Past}) ->
    {reply, Active ++ Past, State};
handle_call({get, Which}, _From, State) ->
    {reply, maps:get(Which, State), State}.

handle_cast(_Message, State) ->
    {noreply, State}.

find(Name, Alarms) ->
    case [A || A = #{name := N} <- Alarms, N =:= Name] of
        [Alarm | _] -> {ok, Alarm};
        [] -> error
    end.

text(Name) ->
    iolist_to_binary(io_lib:format("~p", [Name])).
