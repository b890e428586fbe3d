%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% Subscriptions of this node and the way of a message to them, and to the other nodes of the cluster.
-module(emqx_broker).
-behaviour(gen_server).
-export([start_link/0, subscribe/3, unsubscribe/2, unsubscribe_all/1, publish/4, dispatch/4, count/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(EXACT, emqx_exact).          % {Topic, Pid, QoS}
-define(WILD, emqx_wildcard).        % {Filter, Words, Pid, QoS}
-define(OWNER, emqx_subscription).   % {Pid, Filter}
-define(REMOTE_TIMEOUT, 5000).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

subscribe(Pid, Filter, QoS) ->
    unsubscribe(Pid, Filter),
    ets:insert(?OWNER, {Pid, Filter}),
    case emqx_topic:wildcard(Filter) of
        true -> ets:insert(?WILD, {Filter, emqx_topic:words(Filter), Pid, QoS});
        false -> ets:insert(?EXACT, {Filter, Pid, QoS})
    end,
    ok.

unsubscribe(Pid, Filter) ->
    ets:delete_object(?OWNER, {Pid, Filter}),
    ets:match_delete(?WILD, {Filter, '_', Pid, '_'}),
    ets:match_delete(?EXACT, {Filter, Pid, '_'}),
    ok.

unsubscribe_all(Pid) ->
    [unsubscribe(Pid, Filter) || {_, Filter} <- ets:lookup(?OWNER, Pid)],
    ok.

%% Answers when the message is in the mailbox of every subscriber of the cluster that could be reached, so that
%% an acknowledgement sent afterwards is true.
publish(Topic, Payload, QoS, Retain) ->
    case ekka_mnesia:running_nodes() -- [node()] of
        [] ->
            ok;
        Others when QoS =:= 0 ->
            gen_server:abcast(Others, ?MODULE, {dispatch, Topic, Payload, QoS, Retain});
        Others ->
            erpc:multicall(Others, ?MODULE, dispatch, [Topic, Payload, QoS, Retain], ?REMOTE_TIMEOUT)
    end,
    dispatch(Topic, Payload, QoS, Retain).

dispatch(Topic, Payload, QoS, _Retain) ->
    [deliver(Pid, Topic, Payload, min(QoS, Max)) || {_, Pid, Max} <- ets:lookup(?EXACT, Topic)],
    case ets:info(?WILD, size) of
        0 ->
            ok;
        _ ->
            Words = emqx_topic:words(Topic),
            ets:foldl(fun({_, Filter, Pid, Max}, ok) ->
                              case emqx_topic:match(Words, Filter) of
                                  true -> deliver(Pid, Topic, Payload, min(QoS, Max));
                                  false -> ok
                              end
                      end, ok, ?WILD)
    end.

deliver(Pid, Topic, Payload, QoS) ->
    Pid ! {deliver, Topic, Payload, QoS},
    ok.

count(subscriptions) ->
    size_of(?OWNER);
count(subscribers) ->
    length(lists:usort([Pid || {Pid, _} <- list(?OWNER)]));
count(topics) ->
    length(lists:usort([Filter || {_, Filter} <- list(?OWNER)])).

size_of(Table) ->
    case ets:info(Table, size) of
        undefined -> 0;
        N -> N
    end.

list(Table) ->
    case ets:info(Table, size) of
        undefined -> [];
        _ -> ets:tab2list(Table)
    end.

init([]) ->
    Options = [named_table, public, bag, {read_concurrency, true}, {write_concurrency, true}],
    [ets:new(Table, Options) || Table <- [?EXACT, ?WILD, ?OWNER]],
    {ok, #{}}.

handle_call(_Request, _From, State) ->
    {reply, ignored, State}.

handle_cast({dispatch, Topic, Payload, QoS, Retain}, State) ->
    dispatch(Topic, Payload, QoS, Retain),
    {noreply, State}.

handle_info(_Message, State) ->
    {noreply, State}.
