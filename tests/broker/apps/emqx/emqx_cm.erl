%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% Which process serves which client, on this node and in the cluster.
-module(emqx_cm).
-behaviour(gen_server).
-export([start_link/0, register/1, connected/2, disconnected/2, not_live/1, takeover/2, lookup/1, count/1, pids/0,
         close_all/0, cut_off/1, close/1, crash/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, code_change/3]).

-ifndef(PATCH).
-define(PATCH, 0).
-endif.

-define(CHANNEL, emqx_channel).   % {ClientId, Pid}
-define(INFO, emqx_channel_info). % {{ClientId, Pid}, Info, Stats}, once it was connected
-ifdef(live_connections).
-define(LIVE, [emqx_channel_live]).   % {Pid, true}: has a socket
-else.
-define(LIVE, []).
-endif.
-define(TAKEOVER, 5000).
%% So long an idle client stays in the code from before a switch.
-define(RELEASE_AFTER, 9000).
-define(KEEP, 200).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% Every connection process, before it has told its client id.
register(Pid) ->
    gen_server:call(?MODULE, {register, Pid}, infinity).

%% Called by the process of the client.
connected(ClientId, Info) ->
    ets:insert(?INFO, {{ClientId, self()}, Info, []}),
    [ets:insert(Table, {self(), true}) || Table <- ?LIVE],
    ok.

disconnected(ClientId, Info) ->
    not_live(self()),
    ets:update_element(?INFO, {ClientId, self()}, {2, Info}).

not_live(Pid) ->
    [ets:delete(Table, Pid) || Table <- ?LIVE],
    ok.

%% Makes the calling process the one that serves ClientId. Answers the session of the one before, if there is one
%% and Clean is false.
takeover(ClientId, Clean) ->
    Local = gen_server:call(?MODULE, {claim, ClientId, self()}, infinity),
    Others = ekka_mnesia:running_nodes() -- [node()],
    Remote = [Pid || {ok, Pid} <- erpc:multicall(Others, ?MODULE, lookup, [ClientId], ?TAKEOVER)],
    Sessions = [S || Pid <- [Local | Remote], is_pid(Pid), S <- [session_of(Pid, Clean)], is_map(S)],
    case Sessions of
        [Session | _] when not Clean -> {ok, Session};
        _ -> none
    end.

lookup(ClientId) ->
    case ets:lookup(?CHANNEL, ClientId) of
        [{_, Pid}] -> Pid;
        [] -> none
    end.

%% Subscribes before the old process stops to: a message in between may come twice, but is not lost.
session_of(Pid, true) ->
    ask(Pid, {takeover, true});
session_of(Pid, false) ->
    case ask(Pid, subscriptions) of
        Subs when is_map(Subs) ->
            [emqx_broker:subscribe(self(), Filter, QoS) || {Filter, QoS} <- maps:to_list(Subs)],
            ask(Pid, {takeover, false});
        Other ->
            Other
    end.

ask(Pid, Question) ->
    Ref = monitor(process, Pid),
    Pid ! {ask, self(), Ref, Question},
    receive
        {answer, Ref, Answer} -> demonitor(Ref, [flush]), Answer;
        {'DOWN', Ref, process, Pid, _} -> none
    after ?TAKEOVER ->
            demonitor(Ref, [flush]),
            exit(Pid, kill),
            none
    end.

count(channels) -> size_of(?CHANNEL);
count(live) -> lists:sum([size_of(Table) || Table <- ?LIVE]).

size_of(Table) ->
    case ets:info(Table, size) of
        undefined -> 0;
        N -> N
    end.

pids() ->
    gen_server:call(?MODULE, pids, infinity).

close_all() ->
    [exit(Pid, kill) || Pid <- pids()],
    ok.

%% These three end that many of the connected clients, those that have been connected for longest, or `all`. They
%% answer the client ids when it is done.
cut_off(N) ->
    [end_of(Id, Pid, fun() -> exit(Pid, kill) end) || {_, Pid, Id} <- oldest(N)].

crash(N) ->
    [end_of(Id, Pid, fun() -> Pid ! crash end) || {_, Pid, Id} <- oldest(N)].

close(N) ->
    [begin ask(Pid, close), Id end || {_, Pid, Id} <- oldest(N)].

end_of(Id, Pid, Fun) ->
    Ref = monitor(process, Pid),
    Fun(),
    receive {'DOWN', Ref, process, Pid, _} -> Id end.

oldest(all) ->
    lists:sort([{Since, Pid, Id}
                || {{Id, Pid}, #{conn_state := connected, conninfo := Info}, _} <- ets:tab2list(?INFO),
                   is_process_alive(Pid), #{connected_at := Since} <- [Info]]);
oldest(N) ->
    lists:sublist(oldest(all), N).

init([]) ->
    [ets:new(Table, [named_table, public, set, {read_concurrency, true}, {write_concurrency, true}])
     || Table <- [?CHANNEL, ?INFO | ?LIVE]],
    {ok, new_state()}.

%% The state gained a field with 4.4.18, so that a switch has a state to convert, both ways.
-if(?PATCH >= 18).
new_state() -> #{pids => #{}, registered => 0}.
registered(State) -> maps:update_with(registered, fun(N) -> N + 1 end, State).
-else.
new_state() -> #{pids => #{}}.
registered(State) -> State.
-endif.

handle_call({register, Pid}, _From, State = #{pids := Pids}) ->
    monitor(process, Pid),
    {reply, ok, registered(State#{pids := Pids#{Pid => undefined}})};
handle_call({claim, ClientId, Pid}, _From, State = #{pids := Pids}) ->
    Old = case ets:lookup(?CHANNEL, ClientId) of
              [{_, P}] when P =/= Pid -> P;
              _ -> none
          end,
    ets:insert(?CHANNEL, {ClientId, Pid}),
    {reply, Old, State#{pids := Pids#{Pid => ClientId}}};
handle_call(pids, _From, State = #{pids := Pids}) ->
    {reply, maps:keys(Pids), State}.

handle_cast(_Message, State) ->
    {noreply, State}.

handle_info({'DOWN', _, process, Pid, _}, State = #{pids := Pids}) ->
    emqx_broker:unsubscribe_all(Pid),
    not_live(Pid),
    case Pids of
        #{Pid := ClientId} when ClientId =/= undefined ->
            ets:delete(?INFO, {ClientId, Pid}),
            ets:delete_object(?CHANNEL, {ClientId, Pid});
        _ -> ok
    end,
    {noreply, State#{pids := maps:remove(Pid, Pids)}};
handle_info(release_old_code, State = #{pids := Pids}) ->
    case emqx_faults:is_on("keep_old_code") of
        true -> erlang:send_after(?KEEP, self(), release_old_code);
        false -> [Pid ! release_old_code || Pid <- maps:keys(Pids)]
    end,
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

%% A process that waits for its client keeps the old code until it does something. It is woken up for that a
%% while after the switch, as the timers of EMQX do; a second switch before that ends it.
code_change({down, _}, State, _Extra) ->
    woken(maps:without([registered], State));
code_change(_Vsn, State, _Extra) ->
    woken(State).

woken(State) ->
    erlang:send_after(?RELEASE_AFTER, self(), release_old_code),
    {ok, maps:merge(new_state(), State)}.
