%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% What happened to clients since the application started, in numbers that a switch leaves alone.
-module(emqx_metrics).
-export([start/0, all/0, val/1, inc/1]).

%% Those that are counted, and some that stay zero.
-define(NAMES, ['client.connected', 'client.disconnected', 'client.subscribe', 'client.unsubscribe',
                'session.created', 'session.resumed', 'session.takeovered', 'session.discarded', 'session.terminated',
                'bytes.received', 'bytes.sent', 'client.auth.failure', 'messages.dropped', 'packets.received',
                'packets.sent']).

start() ->
    persistent_term:put(?MODULE, counters:new(length(?NAMES), [atomics])).

all() ->
    [{Name, val(Name)} || Name <- ?NAMES].

val(Name) ->
    case place(Name, ?NAMES, 1) of
        undefined -> undefined;
        At -> counters:get(persistent_term:get(?MODULE), At)
    end.

inc(Name) ->
    counters:add(persistent_term:get(?MODULE), place(Name, ?NAMES, 1), 1).

place(_, [], _) -> undefined;
place(Name, [Name | _], At) -> At;
place(Name, [_ | Rest], At) -> place(Name, Rest, At + 1).
